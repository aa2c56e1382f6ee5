"""Transfers: which task wants which file, and the threads that move it."""
