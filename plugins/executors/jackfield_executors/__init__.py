"""The executors that ship with Jackfield: threads, and processes of this machine."""
