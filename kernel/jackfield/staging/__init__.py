"""Staging: moving files so that each is either absent or complete and right.

A provider, which is a plugin, only moves bytes. Everything else about a transfer is
here: local names, verification, retries, resumption, the cache of earlier files,
cancellation, progress, and keeping secrets out of messages.

Nothing here knows the kernel, because the same code runs on the kernel's transfer
threads (the executor plugin ``transfers``) and inside tasks, on workers that share no
file system with the driver (``jackfield.transfers.in_task``).
"""
