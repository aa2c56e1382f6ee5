"""What is logged beside Jackfield's own log of the run."""
