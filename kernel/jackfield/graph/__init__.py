"""The graph of tasks, and who may change it."""
