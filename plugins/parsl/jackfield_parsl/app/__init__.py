"""Apps, their futures and errors."""
