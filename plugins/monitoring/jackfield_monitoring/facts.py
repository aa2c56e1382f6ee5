"""Facts about the process that runs: who, where, with what; without its secrets.

The environment is never looked at: it is full of secrets that no rule finds.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from jackfield.messages import hide_secrets
from jackfield.plugins.scan import find_entry_points
from jackfield_monitoring.fields import Code, Program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import Popen

GIT_S: Final = 10.0
"""Seconds that Git may take, which may have to look at a hundred thousand files."""

HIDDEN: Final = "***"

_HIDDEN_NAME: Final = (
    r"(?i)(pass(word|wd|phrase)?|secret|token|credentials?|(api|access)?[-_]?key|auth"
    r"|cookies?)$"
)
"""How the name of an option ends whose value is a secret."""

_LOGINS: Final = frozenset({"-u", "--user", "--proxy-user"})
"""Options whose value is a name and a password, as those of ``curl`` are."""

_HEADER: Final = r"(?i)(\s*[\w-]+\s*:\s*)?(bearer|basic)\s+\S"
"""An HTTP header that lets its bearer in, as people give it to ``curl -H``."""


def without_secrets(argv: Sequence[str]) -> list[str]:
    """Return a command line in which asterisks stand for what looks like a secret.

    That is the value of an option that is named like one, behind ``=`` or as the next
    argument; a header's credentials; and what ``hide_secrets`` finds.
    """
    shown: list[str] = []
    hide_next = False
    before = ""
    for argument in argv:
        name, equals, value = argument.partition("=")
        secret = re.search(_HIDDEN_NAME, name) is not None
        login, before = before in _LOGINS and ":" in argument, argument
        if hide_next and not argument.startswith("--"):
            shown.append(HIDDEN)
            hide_next = False
            continue
        if login:
            shown.append(f"{argument.partition(':')[0]}:{HIDDEN}")
            continue
        hide_next = argument.startswith("-") and secret and not equals
        if secret and equals and value:
            shown.append(f"{name}={HIDDEN}")
        elif re.match(_HEADER, argument):
            shown.append(HIDDEN)
        else:
            shown.append(hide_secrets(argument))
    return shown


@lru_cache(maxsize=64)
def id_of(run_dir: Path) -> str:
    """Return what tells this process's run from all others; for a directory the same.

    Whatever writes of the run on its own account uses it: 32 hexadecimal digits.
    """
    del run_dir
    return os.urandom(16).hex()


def program() -> Program:
    """Tell of this process, in less than a millisecond."""
    system = os.uname()
    facts = Program(
        argv=without_secrets(sys.orig_argv[:1] + sys.argv),
        host=system.nodename,
        pid=os.getpid(),
        python=sys.version.partition(" ")[0],
        executable=sys.executable,
        platform=f"{system.sysname} {system.release} {system.machine}",
    )
    with suppress(OSError):  # it has been removed
        facts["cwd"] = str(Path.cwd())
    try:
        facts["user"] = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, in containers
        facts["user"] = str(os.getuid())
    started = start_of(os.getpid())
    if started is not None:
        facts["started"] = started
        facts["boot"], facts["namespace"] = place_of_pids()
    return facts


def start_of(pid: int) -> int | None:
    """Return when a process started, as Linux counts; ``None`` if it is not there.

    The 22nd field of ``/proc/PID/stat`` (proc_pid_stat(5)). The second is the name of
    the program in parentheses, which may hold spaces and parentheses of its own.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def place_of_pids() -> tuple[str, str]:
    """Return where pids mean what they mean here: the machine's start, the namespace.

    Each is ``""`` where the system does not tell.
    """
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return boot, namespace


def imported_versions() -> dict[str, str]:
    """Return the version of each package that is imported, by its name.

    Only the attribute ``__version__`` is read: to find each one's distribution would
    mean to read the file lists of all that are installed.
    """
    return {
        name: version
        for name, module in sys.modules.copy().items()
        if "." not in name
        and isinstance(module, ModuleType)  # others may have put anything there
        and isinstance(version := vars(module).get("__version__"), str)
        and name not in sys.stdlib_module_names
    }


def plugin_versions() -> dict[str, str]:
    """Return the version of each distribution that brings plugins, by its name."""
    return {one.distribution: one.version for one in find_entry_points()}


# -- The script's text


def script_dir() -> Path | None:
    """Return where the script lies, if it is a file of the user's.

    A program that is installed in the environment (pytest, a notebook's kernel) is
    not: for it the current directory stands.
    """
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    with suppress(OSError):
        if path is not None:
            place = Path(path).resolve().parent
            installed = place.is_relative_to(Path(sys.prefix).resolve())
            if not installed and not place.is_relative_to(sys.base_prefix):
                return place
        return Path.cwd()
    return None


class Git:
    """Asks Git about the repository that a directory lies in.

    ``code_of`` is called on one thread, ``stop`` on any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Popen[str] | None = None
        self._stopped: bool = False

    def code_of(self, place: Path) -> Code | None:
        """Return the commit of a directory; ``None`` if it is in no repository.

        Nothing is run unless there is a ``.git`` above. Git is told not to write there,
        and not to start the program that the repository's own configuration may name
        for watching files.
        """
        if not any((above / ".git").exists() for above in (place, *place.parents)):
            return None
        head = self._ask(place, "rev-parse", "--show-toplevel", "HEAD")
        if head is None or len(head.splitlines()) != 2:
            return None
        root, commit = head.splitlines()
        code = Code(root=root, commit=commit)
        changed = self._ask(place, "status", "--porcelain", "--untracked-files=no")
        if changed is not None:
            code["dirty"] = bool(changed.strip())
        return code

    def stop(self) -> None:
        """Have ``code_of`` return soon, with what it knows by then."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.kill()

    def _ask(self, place: Path, *arguments: str) -> str | None:
        """Return what Git prints; ``None`` if it is absent, refuses or takes long."""
        import subprocess

        command = ["git", "-c", "core.fsmonitor=false", "-C", str(place), *arguments]
        try:
            # Under the lock, so that ``stop`` comes before the start, and there is
            # none, or after it, and there is a process to kill.
            with self._lock:
                if self._stopped:
                    return None
                self._running = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    errors="replace",
                    env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
                )
        except OSError:
            return None
        with self._running as process:
            try:
                printed, _ = process.communicate(timeout=GIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return None
        # From here on ``kill`` does nothing: Popen knows that the process has ended.
        return printed if process.returncode == 0 else None
