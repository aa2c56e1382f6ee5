"""Images with numpy, on processes: blur, find edges, put all on one sheet.

    python examples/contact_sheet.py [DIRECTORY]

The pictures are computed, so that nothing has to be fetched. Arrays travel between the
tasks; `sheet.png` is what comes of it. Needs numpy.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import jackfield as jf

Image: TypeAlias = npt.NDArray[np.float64]

SIZE = 96
PICTURES = 8


@jf.python_app
def picture(seed: int) -> Image:
    """Make a picture of rings, with noise."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    rings = np.sin((seed + 3) * 4 * np.hypot(x - seed / 40, y))
    noise = np.random.default_rng(seed).normal(0, 0.3, (SIZE, SIZE))
    return np.asarray(np.clip(rings + noise, -1, 1) / 2 + 0.5)


@jf.python_app
def blurred(image: Image, radius: int = 2) -> Image:
    """Take the mean of the neighbours of each point."""
    moved = [
        np.roll(image, (dy, dx), (0, 1))
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
    ]
    return np.asarray(np.mean(moved, axis=0))


@jf.python_app
def edges(image: Image) -> Image:
    """Show where an image changes."""
    dy, dx = np.gradient(image)
    steep = np.hypot(dx, dy)
    return np.asarray(steep / max(float(steep.max()), 1e-9))


@jf.python_app
def sheet(rows: list[list[Image]], outputs: list[jf.File]) -> tuple[int, int]:
    """Write all images as one PNG; return its width and height."""
    whole = (np.vstack([np.hstack(row) for row in rows]) * 255).astype(np.uint8)
    height, width = whole.shape
    lines = b"".join(b"\0" + line.tobytes() for line in whole)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    with open(outputs[0], "wb") as file:  # noqa: PTH123  (a File, as an app gets it)
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in parts:
            check = struct.pack(">I", zlib.crc32(kind + data))
            file.write(struct.pack(">I", len(data)) + kind + data + check)
    return width, height


def main(directory: Path) -> dict[str, Any]:
    """Make the sheet below a directory; return what came of it."""
    config = {
        "run_dir": directory / "runs",
        "executors": {"cpu": {"plugin": "processes", "workers": 2}},
        "monitors": {"history": {"plugin": "sqlite"}},
    }
    with jf.load(config) as kernel:
        first = [picture(seed) for seed in range(PICTURES)]
        second = [blurred(image) for image in first]
        third = [edges(image) for image in second]
        size = sheet([first, second, third], outputs=[jf.File(directory / "sheet.png")])
        width, height = size.result()
    print(f"sheet.png: {width} x {height}")
    return {"size": (width, height), "run": kernel.run_dir}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
