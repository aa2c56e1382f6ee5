"""Keys stay what they are: those of a wide variety of calls are recorded, and compared.

``golden/golden_main.py`` prints the identities of functions and values and the keys of
calls, ``golden/keys-3.11.json`` and the like have what it printed when they were made.
A key that changes makes every stored result of such a call a miss. Where that is meant,
the files are made anew: the test writes what it found beside them, as the error says.

The versions of packages belong to the keys; here all of them are said to be 0. What
depends on numpy and pandas was recorded on one version of Python only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RECORDED = GOLDEN / f"keys-{PYTHON}.json"
LIMIT_S = 120.0


def golden(directory: Path, seed: str) -> dict[str, Any]:
    """Compute the keys in a copy of the golden project, in a process of its own."""
    project = directory / "project"
    shutil.copytree(GOLDEN, project, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("jackfield", "numpy", "pandas"):
        info = directory / f"{name}-0.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n"
        (info / "METADATA").write_text(text)
    points = metadata.distribution("jackfield").read_text("entry_points.txt")
    (directory / "jackfield-0.dist-info" / "entry_points.txt").write_text(points or "")
    path = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "golden_main.py", str(directory / "runs")],
        capture_output=True,
        text=True,
        cwd=project,
        timeout=LIMIT_S,
        env={
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not RECORDED.exists(), reason=f"nothing recorded for {PYTHON}")
@pytest.mark.parametrize("seed", ["0", "4711"])
def test_keys_are_what_they_were(tmp_path: Path, seed: str) -> None:
    recorded = json.loads(RECORDED.read_text())
    found = golden(tmp_path, seed)
    new = tmp_path / RECORDED.name
    new.write_text(json.dumps(found, indent=1, sort_keys=True))

    changed = [
        f"{kind}: {name}"
        for kind, keys in recorded.items()
        for name, key in keys.items()
        if name in found[kind] and found[kind][name] != key
    ]
    gone = [
        name
        for kind, keys in recorded.items()
        for name in keys
        if name not in found[kind] and not name.startswith(("np ", "pd "))
    ]

    assert not changed, f"keys changed; those of now are in {new}"
    assert not gone
    assert found.keys() == recorded.keys()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_much_is_recorded(python: str) -> None:
    recorded = json.loads((GOLDEN / f"keys-{python}.json").read_text())

    assert {kind: len(keys) > 3 for kind, keys in recorded.items()} == {
        "apps": True,
        "calls": True,
        "functions": True,
        "values": True,
        "values by stat": True,
    }
    assert sum(map(len, recorded.values())) > 200
