"""The version of Parsl whose names are here."""

from __future__ import annotations

VERSION = "2026.10.26"
