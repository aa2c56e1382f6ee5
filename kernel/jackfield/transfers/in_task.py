"""Staging inside a task, where workers and driver share no file system."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield.errors import MissingOutputs
from jackfield.graph.arguments import find, substitute
from jackfield.staging.local import safe_name
from jackfield.staging.remote import Stop
from jackfield.staging.stage import stage_in, stage_out

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.staging.site import Site


@dataclass(frozen=True, slots=True)
class StagedCall:
    """A task's function with its files around it; what the worker calls.

    Files are brought to a directory of the call's own, which is removed at its end.
    Equal files of one call are brought once, those of several calls each time.

    Attributes:
        app: The app's name.
        function: The task's function.
        sites: Where its files are, by URL.
        outputs: Remote files to make and to take away afterwards.
    """

    app: str
    function: Callable[..., Any]
    sites: Mapping[str, Site]
    outputs: Sequence[File]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Stage in, call the function, stage out; return what it returned.

        Raises:
            TransferError: Or what else a staging provider raised.
            MissingOutputs: The function did not make what it was to make.
        """
        with tempfile.TemporaryDirectory(prefix="jackfield-") as name:
            directory = Path(name)
            outputs = self._placed(directory)
            local = {**self._fetched(args, kwargs, directory), **outputs}
            args, kwargs = substitute(args, kwargs, lambda file: local.get(file, file))
            value = self.function(*args, **kwargs)
            self._send(outputs.values())
            return value

    def _fetched(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], directory: Path
    ) -> dict[File, File]:
        found = find(args, kwargs)
        local: dict[File, File] = {}
        for number, file in enumerate(found.files if found is not None else ()):
            if file.url in self.sites and file not in self.outputs:
                place = directory / f"in-{number}"
                place.mkdir()
                local[file] = stage_in(file, self.sites[file.url], place, Stop())
        return local

    def _placed(self, directory: Path) -> dict[File, File]:
        placed: dict[File, File] = {}
        for number, file in enumerate(self.outputs):
            place = directory / f"out-{number}"
            place.mkdir()
            placed[file] = file.at(place / safe_name(file.filename))
        return placed

    def _send(self, outputs: Any) -> None:
        missing = [file.filepath for file in outputs if not Path(file).exists()]
        if missing:
            raise MissingOutputs(self.app, missing)
        for file in outputs:
            stage_out(file, self.sites[file.url], Stop())
