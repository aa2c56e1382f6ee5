# mypy: ignore-errors
# The code is as users write it: without types.
"""What makes the keys that are recorded: as a kernel gets it, with all plugins."""

from jackfield.memo_keys import part_identity  # noqa: F401
from jackfield.plugins import PluginManager
from jackfield.plugins.key_makers import create_key_maker


def make(files="content"):
    return create_key_maker(PluginManager(), files)
