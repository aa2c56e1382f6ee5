"""A kernel: composed, started, ended."""
