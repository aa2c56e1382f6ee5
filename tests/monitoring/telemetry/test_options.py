"""What a monitor is told that cannot be, or that its library is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


def table(tmp_path: Path, plugin: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "run_dir": str(tmp_path / "runs"),
        "monitors": {"seen": {"plugin": plugin, **options}},
    }


@pytest.mark.parametrize(
    ("plugin", "options"),
    [
        *(("prometheus", {"port": port}) for port in (-1, 70_000, "x", True)),
        *(("prometheus", {"address": address}) for address in ("", 1)),
        ("prometheus", {"host": "0.0.0.0"}),
        *(
            ("opentelemetry", {"endpoint": endpoint})
            for endpoint in ("file:///etc/passwd", 7, "host:4318")
        ),
        ("opentelemetry", {"url": "http://127.0.0.1/"}),
    ],
)
def test_options_that_cannot_be_are_named(
    tmp_path: Path, plugin: str, options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(jf.ConfigurationError, match=f"monitors.seen.*'{name}'"):
        jf.load(table(tmp_path, plugin, options))


@pytest.mark.parametrize(
    ("plugin", "module"),
    [
        ("prometheus", "prometheus_client"),
        ("opentelemetry", "opentelemetry.exporter.otlp"),
    ],
)
def test_without_the_library_the_error_says_how_to_get_it(
    tmp_path: Path, plugin: str, module: str
) -> None:
    script = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "import jackfield as jf\n"
        f"jf.load({table(tmp_path, plugin, {})!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"pip install 'jackfield[{plugin}]'" in done.stderr
