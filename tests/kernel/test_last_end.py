"""``at_last_end``: what is called when no kernel of a process is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import jackfield as jf
from jackfield.last_end import at_last_end

def fail():
    print("fails")
    raise ValueError("not today")

at_last_end(lambda: print("called"))
at_last_end(fail)

first = jf.DataFlowKernel(jf.Config(run_dir="runs"))
second = jf.DataFlowKernel(jf.Config(run_dir="runs"))
first.cleanup()
print("one is left")
second.cleanup()
print("none is left")
with jf.load(run_dir="runs"):
    pass
print("none again")
"""


def test_all_is_called_when_the_last_kernel_ends_and_at_exit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )

    once = ["fails", "called"]
    expected = ["one is left", *once, "none is left", *once, "none again", *once]
    assert done.stdout.splitlines() == expected, done.stderr
    logs = [path.read_text() for path in sorted(tmp_path.glob("runs/*/jackfield.log"))]
    assert ["not today" in log for log in logs] == [False, True, True]
