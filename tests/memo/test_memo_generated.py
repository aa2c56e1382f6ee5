"""No answer is wrong: programs are generated, changed while they run, and compared.

``generated/programs.py`` makes them, ``generated/run_programs.py`` runs them: each
answer, cached and not, on threads and on processes, is compared with that of a plain
call. Each set runs twice, in two interpreters and with one store, so that what the
first has stored is compared with what the second would compute.

No compiled files are written, here or by workers: Python takes one for that of an
edited text if size and second are the same, and these programs are edited many times a
second. ``test_what_runs.py`` has what is to hold with them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).with_name("generated") / "run_programs.py"
LIMIT_S = 170.0
SLOW_LIMIT_S = 3000.0


def run(directory: Path, first: int, last: int, steps: int, limit: float) -> Any:
    """Run programs in an interpreter of their own; return what was found."""
    done = subprocess.run(
        [sys.executable, RUNNER, directory, str(first), str(last), str(steps)],
        capture_output=True,
        text=True,
        timeout=limit,
        env={**os.environ, "PYTHONHASHSEED": "random", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{found['calls']} calls, {found['hits']} hits; executed though the answer")
    print(f"was the same: {found['needless']}: {found['needless_after']}")
    return found


@pytest.mark.parametrize("first", [10_000, 20_000])
def test_no_answer_of_a_changing_program_is_wrong(first: int, tmp_path: Path) -> None:
    fresh = run(tmp_path, first, first + 50, 3, LIMIT_S)
    again = run(tmp_path, first, first + 50, 3, LIMIT_S)

    assert fresh["wrong"] == []
    assert again["wrong"] == []
    for found in (fresh, again):
        assert found["needless_same"] == []
        assert found["needless"] < found["calls"] / 20
    assert again["hits"] > again["calls"] * 0.9


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(100_000, 200_000, 10_000))
def test_no_answer_of_many_changing_programs_is_wrong(
    first: int, tmp_path: Path
) -> None:
    fresh = run(tmp_path, first, first + 300, 8, SLOW_LIMIT_S)
    again = run(tmp_path, first, first + 300, 8, SLOW_LIMIT_S)

    assert fresh["wrong"] + again["wrong"] == []
    assert fresh["needless_same"] + again["needless_same"] == []
