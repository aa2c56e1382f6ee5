"""Names that the configuration and transfers share; this module imports neither."""

from __future__ import annotations

from typing import Final

HOSTS: Final = "hosts"
"""Key of the table of hosts in the table of a scheme: ``[staging.http.hosts."h"]``."""

CREDENTIALS_PREFIX: Final = "JACKFIELD_CREDENTIALS_"
"""As in ``JACKFIELD_CREDENTIALS_LAB_PASSWORD``: the password of credentials ``lab``."""
