"""Staging: a file is absent, or complete and right.

A provider, which is a plugin, only moves bytes. Everything else about a transfer is
here: names, verification, retries, resumption, the cache, cancellation, progress, and
keeping secrets. This package knows no kernel: it runs on the kernel's transfer
threads (``jackfield.transfers.flights``) and inside tasks alike.
"""
