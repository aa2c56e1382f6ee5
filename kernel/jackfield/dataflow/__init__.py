"""The dataflow kernel: tasks, their dependencies, and what becomes of them."""
