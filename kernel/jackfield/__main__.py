"""``python -m jackfield``: the command ``jackfield``, in the interpreter that is meant.

It is a plugin, so it is found as the script of that name is: by its entry point.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

if __name__ == "__main__":
    found: list[EntryPoint] = [*entry_points(group="console_scripts", name="jackfield")]
    if not found:
        sys.exit("The command jackfield is not installed: install jackfield anew.")
    found[0].load()(prog_name="python -m jackfield")
