"""The files of a task that moves them itself, on a worker without the driver's disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import MissingOutputs
from jackfield.files import lack_of
from jackfield.staging import mover
from jackfield.staging.remote import Stop
from jackfield_system.held_directories import HeldDirectory, sweep_once
from jackfield_system.local_names import safe_name

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield_transfers.host_site import HostSite


@dataclass(frozen=True, slots=True)
class Courier(mover.Courier):
    """Moves files by their sites.

    Files are brought to a directory that belongs to the call and is removed at its end.
    A file that is named twice in one call is brought once; each call brings its files
    anew.

    Attributes:
        app: The app's name.
        sites: The site of each file, by URL.
        inputs: The remote files among the task's arguments.
        outputs: The remote files that the function makes, to be staged out afterwards.
    """

    app: str
    sites: Mapping[str, HostSite]
    inputs: Sequence[File]
    outputs: Sequence[File]

    @contextmanager
    def moving(self) -> Iterator[Callable[[File], File]]:
        """Stage in, give what finds local copies, and stage out."""
        sweep_once()
        with HeldDirectory("call") as directory:
            outputs = self._placed(directory)
            inputs = self._fetched(directory)

            def local(file: File) -> File:
                # An output, which may have the URL of an input, is known by the path
                # that it was given when the app was called.
                if file.local_path is None:
                    return inputs.get(file, file)
                return outputs.get(file.local_path, file)

            yield local
            self._send(outputs.values())

    def _fetched(self, directory: Path) -> dict[File, File]:
        """Bring the inputs; return each with its local copy."""
        local: dict[File, File] = {}
        for number, file in enumerate(self.inputs):
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

    def _send(self, outputs: Collection[File]) -> None:
        missing = tuple(filter(None, [lack_of(file.filepath) for file in outputs]))
        if missing:
            raise MissingOutputs(self.app, missing)
        for file in outputs:
            self.sites[file.url].stage_out(file, Stop())
