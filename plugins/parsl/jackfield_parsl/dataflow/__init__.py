"""The kernel, its errors, results and records."""
