# mypy: ignore-errors
# The code is as users write it: without types.
"""Another one."""

import sys

if sys.version_info > (3,):
    LATE = 1


def more(x):
    return x - LATE
