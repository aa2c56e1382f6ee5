"""What moves files if nothing is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield_parsl.data_provider.file_noop import NoOpFileStaging
from jackfield_parsl.data_provider.ftp import FTPSeparateTaskStaging
from jackfield_parsl.data_provider.http import HTTPSeparateTaskStaging
from jackfield_parsl.data_provider.zip import ZipFileStaging

if TYPE_CHECKING:
    from jackfield_parsl.data_provider.staging import Staging

default_staging: list[Staging] = [
    NoOpFileStaging(),
    FTPSeparateTaskStaging(),
    HTTPSeparateTaskStaging(),
    ZipFileStaging(),
]
