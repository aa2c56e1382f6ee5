"""Staging within a task, where the worker and the driver share no file system."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jackfield.errors import MissingOutputs
from jackfield.graph.arguments import find, substitute
from jackfield.staging.local_names import safe_name
from jackfield.staging.remote import Stop

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.staging.mover import Site


@dataclass(frozen=True, slots=True)
class StagedCall:
    """What the worker calls: a task's function, with the staging of its files around.

    The files are brought to a directory that belongs to the call and is removed at its
    end. A file that is named twice in one call is brought once; each call brings its
    files anew.

    Attributes:
        app: The app's name.
        function: The task's function.
        sites: The site of each of its files, by URL.
        outputs: The remote files that the function makes, to be staged out afterwards.
    """

    wraps_tasks: ClassVar[bool] = True

    app: str
    function: Callable[..., Any]
    sites: Mapping[str, Site]
    outputs: Sequence[File]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Stage in, call the function, stage out; return what it returned.

        Raises:
            TransferError: A file could not be moved; a staging provider may raise any
                other exception for that.
            MissingOutputs: The function has not made one of its outputs.
        """
        with tempfile.TemporaryDirectory(prefix="jackfield-") as name:
            directory = Path(name)
            outputs = self._placed(directory)
            inputs = self._fetched(args, kwargs, directory)

            def local(file: File) -> File:
                # An output, which may have the URL of an input, is known by the path
                # that it was given when the app was called.
                if file.local_path is None:
                    return inputs.get(file, file)
                return outputs.get(file.local_path, file)

            args, kwargs = substitute(args, kwargs, local)
            value = self.function(*args, **kwargs)
            self._send(outputs.values())
            return value

    def _fetched(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], directory: Path
    ) -> dict[File, File]:
        """Bring the files among the arguments; return each with its local copy."""
        found = find(args, kwargs)
        local: dict[File, File] = {}
        for number, file in enumerate(found.files if found is not None else ()):
            if file.url in self.sites:
                place = directory / f"in-{number}"
                place.mkdir()
                local[file] = self.sites[file.url].stage_in(file, place, Stop())
        return local

    def _placed(self, directory: Path) -> dict[str | None, File]:
        """Return each output with the local path that the function shall write.

        The key is its path on the machine of the driver.
        """
        placed: dict[str | None, File] = {}
        for number, file in enumerate(self.outputs):
            place = directory / f"out-{number}"
            place.mkdir()
            placed[file.local_path] = file.at(place / safe_name(file.filename))
        return placed

    def _send(self, outputs: Any) -> None:
        missing = [file.filepath for file in outputs if not Path(file).exists()]
        if missing:
            raise MissingOutputs(self.app, missing)
        for file in outputs:
            self.sites[file.url].stage_out(file, Stop())
