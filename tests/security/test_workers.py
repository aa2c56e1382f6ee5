"""Nobody else gets at a pool's workers."""

from __future__ import annotations

from pathlib import Path

import psutil

import jackfield as jf
from jackfield import python_app

LIMIT_S = 60.0


def test_nothing_listens(tmp_path: Path) -> None:
    """Workers and the driver have each other's ends of pairs, which have no name."""
    before = _listening()
    pool = {"x": {"plugin": "processes", "workers": 2}}

    with jf.load(run_dir=tmp_path, executors=pool):
        python_app(abs)(-1).result(LIMIT_S)

        assert _listening() == before


def _listening() -> set[object]:
    own = psutil.Process()
    return {
        connection.laddr
        for process in (own, *own.children(recursive=True))
        for connection in process.net_connections("all")
        if connection.status == psutil.CONN_LISTEN or isinstance(connection.laddr, str)
        if connection.laddr
    }
