"""Checkpoint stores: SQLite, and an append-only log."""
