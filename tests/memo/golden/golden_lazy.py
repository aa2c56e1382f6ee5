# mypy: ignore-errors
# The code is as users write it: without types.
"""A module that functions import when they run."""

import math as _math

print_nothing = None
FACTOR = 4
NESTED = {"a": [1, 2]}


def scaled(x):
    return _math.floor(x) * FACTOR


class Tool:
    size = FACTOR

    def use(self, x):
        return scaled(x)
