# mypy: ignore-errors
# The code is as users write it: without types.
"""A function that counts with its whole module."""

LIMIT = 3


def blind(name):
    return eval(name), globals()[name], getattr(name, name.upper())
