"""No answer is wrong: programs are generated, changed while they run, and compared.

``generated/programs.py`` makes them, ``generated/run_programs.py`` runs them: each
answer, cached and not, on threads and on processes, is compared with that of a plain
call in a fresh interpreter (``generated/oracle.py``). Each set runs twice, in two
interpreters and with one store, so that what the first has stored is compared with what
is right in the second.

Some sets write compiled files, as Python does unless it is told not to, others do not.
These programs are edited many times a second, mostly without changing their size: that
is when Python takes a compiled file of an earlier text for that of the present one.
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
LIMIT_S = 600.0
SLOW_LIMIT_S = 3000.0
NOT_COMPILED = "PYTHONDONTWRITEBYTECODE"


def run(
    directory: Path, numbers: range, steps: int, limit: float, *, compiled: bool
) -> Any:
    """Run programs in an interpreter of their own; return what was found."""
    env = {**os.environ, "PYTHONHASHSEED": "random", NOT_COMPILED: "1"}
    if compiled:
        del env[NOT_COMPILED]
    first, last = str(numbers.start), str(numbers.stop)
    done = subprocess.run(
        [sys.executable, RUNNER, directory, first, last, str(steps)],
        capture_output=True,
        text=True,
        timeout=limit,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{found['programs']} programs, {found['calls']} cached calls, of which")
    print(f"{found['hits']} were hits; {found['compared']} answers compared, of which")
    print(f"{len(found['wrong'])} were wrong; executed though the answer was the same:")
    print(f"{found['needless']}: {found['needless_after']}")
    return found


@pytest.mark.timeout(2 * LIMIT_S + 60)
@pytest.mark.parametrize(
    ("first", "compiled"), [(10_000, False), (20_000, True)], ids=["texts", "compiled"]
)
def test_no_answer_of_a_changing_program_is_wrong(
    first: int, compiled: bool, tmp_path: Path
) -> None:
    numbers = range(first, first + 50)
    fresh = run(tmp_path, numbers, 3, LIMIT_S, compiled=compiled)
    again = run(tmp_path, numbers, 3, LIMIT_S, compiled=compiled)

    assert fresh["wrong"] == []
    assert again["wrong"] == []
    for found in (fresh, again):
        assert found["programs"] == len(numbers)
        assert found["needless_same"] == []
        assert found["needless"] < found["calls"] / 20
    assert again["hits"] > again["calls"] * 0.9


@pytest.mark.slow
@pytest.mark.timeout(2 * SLOW_LIMIT_S + 60)
@pytest.mark.parametrize("compiled", [False, True], ids=["texts", "compiled"])
@pytest.mark.parametrize("first", range(100_000, 150_000, 10_000))
def test_no_answer_of_many_changing_programs_is_wrong(
    first: int, compiled: bool, tmp_path: Path
) -> None:
    numbers = range(first, first + 300)
    if compiled:
        numbers = range(first + 5_000, first + 5_300)
    fresh = run(tmp_path, numbers, 5, SLOW_LIMIT_S, compiled=compiled)
    again = run(tmp_path, numbers, 5, SLOW_LIMIT_S, compiled=compiled)

    assert fresh["wrong"] + again["wrong"] == []
    assert fresh["needless_same"] + again["needless_same"] == []
