"""Whether an engine's workers see the driver's disk, and what they are sent if not.

Nobody can ask a worker of an unknown engine, so a bundle asks: it is packed for workers
that see the disk, and one that does not runs nothing and says so. From then on all
bundles have their files with them, also those that go to workers that see the disk. The
project's modules are sent to a process that says that it lacks them; see
``remote.bundles``, which is the worker's side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackfield_executors.remote import places
from jackfield_executors.remote.carrying import Limit
from jackfield_executors.remote.shipping import Shipment

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_executors.foreign.options import Options
    from jackfield_executors.remote.places import Home
    from jackfield_executors.remote.shipping import Code

OFTEN: Final = 20
"""When modules were lacking so often, each bundle has them: the engine may start a
process for each."""


class Disks:
    """What is known of the disks of an engine's workers. Used on the adapter's loop.

    Args:
        options: The executor's.
        declared: Whether the engine declares that it shares the file system; ``True``
            is believed only after a look.
        run_dir: Where the token file goes.

    Raises:
        ConfigurationError: ``ship`` names what is not there.
    """

    def __init__(self, options: Options, run_dir: Path, *, declared: bool) -> None:
        shared = options.shared_filesystem
        if shared is None and not declared:
            shared = False
        self._named = options.ship
        self._shipment = Shipment(options.label, options.ship)
        self._home: Home = places.home_of(run_dir, shared=shared)
        self._limit = Limit(options.carried(), str(options.carry), options.label)
        self._sees = shared is not False
        self._lacking = 0  # how many processes are known to lack modules
        self._lacked = 0  # how many have lacked them in all

    def close(self) -> None:
        """Remove the token file."""
        places.forget(self._home)

    @property
    def home(self) -> tuple[str | None, str, str]:
        """Where the driver is, as a worker gets it."""
        return self._home[0], self._home[2], self._home[3]

    @property
    def limit(self) -> Limit | None:
        """What may travel with a call; ``None`` if its files need not."""
        return None if self._sees else self._limit

    def code(self) -> Code | None:
        """Return the modules for the next bundle; without the zip if it has them."""
        if self._sees and self._named is None:
            return None
        digest, data = self._shipment.code()
        if self._lacking > 0 or self._lacked > OFTEN:
            self._lacking = max(0, self._lacking - 1)
            return digest, data
        return digest, b""

    def note(self, lacking: str) -> None:
        """Take a worker's answer that it lacks files or modules."""
        if lacking == "files":
            self._sees = False
        else:
            self._lacking += 1
            self._lacked += 1
