"""Names that the configuration and staging share."""

from __future__ import annotations

from typing import Final

HOSTS: Final = "hosts"
"""Name of the table of hosts in the table of a scheme."""

CREDENTIALS_PREFIX: Final = "JACKFIELD_CREDENTIALS_"
"""Of environment variables: ``JACKFIELD_CREDENTIALS_LAB_PASSWORD``."""
