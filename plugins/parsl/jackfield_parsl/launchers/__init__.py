"""How the workers of a block were started; here, jobs start their own."""

from __future__ import annotations

from typing import Any

from jackfield_parsl.utils import RepresentationMixin

__all__ = [
    "AprunLauncher",
    "GnuParallelLauncher",
    "JsrunLauncher",
    "MpiExecLauncher",
    "MpiRunLauncher",
    "SimpleLauncher",
    "SingleNodeLauncher",
    "SrunLauncher",
    "SrunMPILauncher",
    "WrappedLauncher",
]


class SimpleLauncher(RepresentationMixin):
    """Taken, and without effect, as all of these."""

    def __init__(self, *values: Any, **options: Any) -> None:
        self.values: tuple[Any, ...] = values
        self.options: dict[str, Any] = options


class AprunLauncher(SimpleLauncher):
    """Without effect."""


class GnuParallelLauncher(SimpleLauncher):
    """Without effect."""


class JsrunLauncher(SimpleLauncher):
    """Without effect."""


class MpiExecLauncher(SimpleLauncher):
    """Without effect."""


class MpiRunLauncher(SimpleLauncher):
    """Without effect."""


class SingleNodeLauncher(SimpleLauncher):
    """Without effect."""


class SrunLauncher(SimpleLauncher):
    """Without effect."""


class SrunMPILauncher(SimpleLauncher):
    """Without effect."""


class WrappedLauncher(SimpleLauncher):
    """Without effect."""
