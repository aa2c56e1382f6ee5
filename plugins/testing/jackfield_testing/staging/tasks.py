"""What the staging conformance kit runs as tasks. Imported in workers: no pytest."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def content(size: int, seed: int = 0) -> bytes:
    """Return bytes of every kind, the same ones for the same seed."""
    return random.Random(seed).randbytes(size)


def read(file: Any, *_: Any) -> bytes:
    """Return what a file holds."""
    return Path(file).read_bytes()


def read_all(files: Sequence[Any]) -> list[bytes]:
    """Return what several files hold."""
    return [Path(file).read_bytes() for file in files]


def verified(file: Any) -> str | None:
    """Return how it is known that a file is right."""
    known: str | None = file.verified
    return known


def place(file: Any) -> str:
    """Return the local path of a file."""
    return str(Path(file).resolve())


def read_tree(directory: Any) -> dict[str, bytes]:
    """Return what a directory's files hold, by their paths below it."""
    top = Path(directory)
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if not path.is_dir()
    }


def write(size: int, seed: int, outputs: Sequence[Any] = ()) -> int:
    """Write the same content to every output."""
    for file in outputs:
        Path(file).write_bytes(content(size, seed))
    return size


def write_tree(files: Mapping[str, bytes], outputs: Sequence[Any] = ()) -> None:
    """Write files below every output."""
    for directory in outputs:
        for name, data in files.items():
            path = Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def write_linked_tree(outputs: Sequence[Any] = ()) -> None:
    """Write a file below a directory, and a link to that directory."""
    for directory in outputs:
        write_tree({"real/x.dat": b"linked"}, [directory])
        (Path(directory) / "link").symlink_to("real")


def extend(file: Any, outputs: Sequence[Any] = ()) -> int:
    """Write to the output what the file holds, and more; return how much."""
    return Path(outputs[0]).write_bytes(Path(file).read_bytes() + b", and more")


def copy(file: Any, outputs: Sequence[Any] = ()) -> int:
    """Write to the output what the file holds; return how much."""
    return Path(outputs[0]).write_bytes(Path(file).read_bytes())
