# mypy: ignore-errors
# The code is as users write it: without types.
"""A module of a package."""

from golden_helpers import RATE

START = RATE + 1


def thing(x):
    from . import other

    return x + START + other.more(x)
