"""The kernel as a whole: how it is put together, loaded, and ended."""
