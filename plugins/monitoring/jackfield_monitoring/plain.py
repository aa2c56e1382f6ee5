"""Opens files of runs, which may come from somebody else."""

from __future__ import annotations

import errno
import os
import stat


def open_plain(path: str, flags: int) -> int:
    """Open a plain file, for ``open(..., opener=)``; a pipe might never answer.

    Raises:
        OSError: It is none.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "It is no plain file", path)
