"""An option that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

config_file = click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read this file instead of searching for one.",
)
