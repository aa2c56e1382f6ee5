"""Bash apps: command lines that run in bash, wherever an executor runs tasks.

``command`` is the function of their tasks, ``process`` begins and ends a command, and
``streams`` has the files that it writes to.
"""

from __future__ import annotations
