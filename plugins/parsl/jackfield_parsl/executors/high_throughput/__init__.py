"""Processes, here and on clusters."""
