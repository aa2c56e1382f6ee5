"""Names of local copies of remote files."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

_NAME_BYTES: Final = 200
"""Bytes of a local name at most. File systems take 255; tasks append ``.log`` to it."""

_PLAIN: Final = re.compile(r"[\w .,+=@~-]+", re.ASCII)
"""Matches names without unsafe characters. Length and names of dots are checked too."""


def safe_name(name: str) -> str:
    """Return a name for a local file, made of one part of a remote path.

    Control characters and separators become ``_``. A long name gets a digest for its
    middle, so that its suffix stays. A name of dots, which would mean a directory,
    becomes ``file``.
    """
    clean = name
    if not _PLAIN.fullmatch(name):
        clean = "".join(
            "_" if unicodedata.category(char) in {"Cc", "Cs"} or char in "/\\" else char
            for char in name
        )
    data = clean.encode()
    if len(data) > _NAME_BYTES:
        digest = hashlib.sha256(data).hexdigest()[:12]
        head = data[: _NAME_BYTES - 64].decode(errors="ignore")
        tail = data[-40:].decode(errors="ignore")
        clean = f"{head}-{digest}-{tail}"
    return clean if clean.strip(". ") else "file"
