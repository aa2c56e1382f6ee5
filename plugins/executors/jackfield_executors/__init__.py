"""The executors that ship with Jackfield: one module for each plugin."""
