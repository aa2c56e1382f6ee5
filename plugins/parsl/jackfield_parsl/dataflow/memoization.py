"""``BasicMemoizer`` as the ``[checkpoint]`` table, ``id_for_memo`` as a registry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield.memo_keys import part_identity
from jackfield_parsl.errors import refused
from jackfield_parsl.utils import RESULTS, RepresentationMixin, get_all_checkpoints

if TYPE_CHECKING:
    from jackfield import DataFlowKernel


@singledispatch
def id_for_memo(obj: object, output_ref: bool = False) -> bytes:
    """Return what a value counts as; register functions for types of your own."""
    del output_ref
    return part_identity(obj)


def is_registered(kind: type) -> bool:
    """Tell whether a function is registered for a type."""
    return id_for_memo.dispatch(kind) is not id_for_memo.dispatch(object)


class Memoizer:
    """Base of Parsl's memoizers. One of the user's own is refused."""


class BasicMemoizer(Memoizer, RepresentationMixin):
    """Which results are kept, and which earlier ones are read."""

    def __init__(
        self,
        *,
        checkpoint_files: Sequence[str] | None = None,
        checkpoint_period: str | None = None,
        checkpoint_mode: str | None = None,
        memoize: bool = True,
    ) -> None:
        self.checkpoint_files = checkpoint_files
        self.checkpoint_period = checkpoint_period
        self.checkpoint_mode = checkpoint_mode
        self.memoize = memoize
        self._kernel: DataFlowKernel | None = None

    def as_jackfield(self, run_dir: str) -> dict[str, Any]:
        """Return the ``[checkpoint]`` table.

        Raises:
            ConfigurationError: It is a class of the user's own.
        """
        if type(self) is not BasicMemoizer:
            raise refused(
                f"{type(self).__name__}, a memoizer of one's own",
                "what makes values equal is a plugin's jackfield_hash_value, and "
                "jackfield_use_result forbids an earlier result",
            )
        table: dict[str, Any] = {"store": "memory"}
        earlier = self.checkpoint_files
        if self.checkpoint_mode is not None:
            table["store"] = f"sqlite:///{{run_dir}}/checkpoint/{RESULTS}"
            table["mode"] = self.checkpoint_mode
            if earlier is None:
                earlier = get_all_checkpoints(run_dir)
        if self.checkpoint_period is not None:
            table["period"] = self.checkpoint_period
        stores = [Path(one, RESULTS).absolute() for one in earlier or ()]
        if missing := [str(one) for one in stores if not one.exists()]:
            raise refused(
                f"checkpoint_files, as there is no {missing[0]}",
                "results that Parsl itself has stored (tasks.pkl) cannot be read",
            )
        if stores:
            table["read"] = [f"sqlite:///{one}" for one in stores]
        return table

    def started(self, kernel: DataFlowKernel) -> None:
        """Note the kernel that has the results."""
        self._kernel = kernel

    def checkpoint(self, *, task: object = None) -> None:
        """Write what has ended so far."""
        del task
        assert self._kernel is not None, "it belongs to no kernel yet"
        self._kernel.checkpoint()
