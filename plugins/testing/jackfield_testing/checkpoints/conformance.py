"""The conformance tests of checkpoint stores."""

from __future__ import annotations

from jackfield_testing.checkpoints.contract import Contract
from jackfield_testing.checkpoints.damage import Damage
from jackfield_testing.checkpoints.limits import Limits
from jackfield_testing.checkpoints.sharing import Sharing


class CheckpointStoreConformance(Contract, Sharing, Damage, Limits):
    """What the kernel relies on in a checkpoint store.

    Name a subclass ``Test...`` and give it ``make_store``::

        class TestMyStore(CheckpointStoreConformance):
            def make_store(self, directory: Path, **options: Any) -> MyStore:
                return open_my_store(f"mine:///{directory}/store", options)

    Tests start processes that run the subclass's file: the class stands at the top
    level of its module. What they cannot see is said in class attributes.

    Attributes:
        local_damage: Whether a damaged byte costs one record at most.
        private_files: Whether the store is made of files, for its user alone.
        kills: Processes killed while they write, in the long form (``-m slow``).
        short_kills: The same in the short form.
        flips: Bits flipped, one at a time, in the long form.
        short_flips: The same in the short form.
        million: Records in the test of a large store (``-m slow``).
    """
