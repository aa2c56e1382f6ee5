"""Plugins for Jackfield, as an example; the entry points are in pyproject.toml."""
