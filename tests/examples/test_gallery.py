"""The programs of the gallery do what their first lines say, run as users run them."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from jackfield_testing.servers import S3Server

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT_S = 120.0


def run(cwd: Path, name: str, *arguments: str, **variables: str) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environ | variables,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_second_sweep_finds_every_point(tmp_path: Path) -> None:
    first, second = run(tmp_path, "sweep.py"), run(tmp_path, "sweep.py")

    assert first.startswith("48 points, 0 of them found; the worst peak is 0.9")
    assert second == first.replace("0 of them", "48 of them")
    picture = ElementTree.parse(tmp_path / "sweep.svg").getroot()
    assert len(picture.findall("{*}polyline")) == 4


def test_all_images_are_on_the_sheet(tmp_path: Path) -> None:
    assert run(tmp_path, "contact_sheet.py") == "sheet.png: 768 x 288\n"

    data = (tmp_path / "sheet.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (768, 288)


@pytest.mark.slow
def test_a_table_of_all_reads_is_in_the_bucket(
    tmp_path: Path, jackfield_s3_server: S3Server
) -> None:
    server, dice = jackfield_s3_server, random.Random(1)
    for name in ("north", "south"):
        lines = ["".join(dice.choices("ACGT", k=32)) + "\n" for _ in range(50)]
        server.put(f"{name}.txt", "".join(lines).encode())

    run(
        *(tmp_path, "reads.py", server.endpoint_url, server.bucket, "north", "south"),
        AWS_ACCESS_KEY_ID=server.key,
        AWS_SECRET_ACCESS_KEY=server.secret,
    )

    rows = [line.split() for line in server.get("table.txt").decode().splitlines()]
    assert [row[:3] for row in rows] == [
        ["north", "50", "1600"],
        ["south", "50", "1600"],
    ]
    assert all(len(row[3]) == 3 for row in rows)


def test_islands_find_a_shorter_tour(tmp_path: Path) -> None:
    told = run(tmp_path, "islands.py")

    found = re.fullmatch(r"\d+ generations on 4 islands: from (.+) to (.+)\n", told)
    assert found is not None
    assert float(found[2]) < float(found[1]) / 2
    picture = ElementTree.parse(tmp_path / "tour.svg").getroot()
    assert len(picture.findall("{*}circle")) == 40


def test_the_notebook_of_periods_runs_cell_by_cell(tmp_path: Path) -> None:
    read_book: Any = nbformat.read  # it has no types
    book = read_book(EXAMPLES / "periods.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=LIMIT_S, resources=resources).execute()

    outputs = [one for cell in book.cells for one in cell.get("outputs", ())]
    printed = "".join(one.text for one in outputs if one.output_type == "stream")
    assert printed == (
        "30 of 30 periods are right within a hundredth\n30 of 32 were known\n"
    )
    *_, why, picture, end = [one.data for one in outputs if "data" in one]
    assert "miss" in why["text/plain"]
    assert picture["image/svg+xml"].count("<circle") == 80
    assert "succeeded" in end["text/plain"]
