# mypy: ignore-errors
# The code is as users write it: without types.
"""A package with names from its modules."""

from .inner import *  # noqa: F403
