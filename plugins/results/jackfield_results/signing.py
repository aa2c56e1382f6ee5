"""The key that says: this result was stored by this user, or by this team.

A pickle is a program. Whoever can write into a store could have it run, unless what is
stored carries a signature that only the key makes. The key is made on first use, one
for each user, outside all stores. It protects against whoever can write a store, not
against whoever can read the key.
"""

from __future__ import annotations

import os
import secrets
import stat
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from jackfield.errors import CheckpointError, ConfigurationError, suggest
from jackfield.files import NO_NAME
from jackfield_system.own_files import user_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

Trust: TypeAlias = Literal["owner", "signed", "any"]
"""What a result must have to be unpickled: a signature with the key (``"signed"``);
only a store that nobody else could have written (``"owner"``); or nothing."""

KEY_FILE_VARIABLE: Final = "JACKFIELD_CHECKPOINT_KEY_FILE"
"""Names the environment variable with the path of a shared key."""

DIGEST_SIZE: Final = 32
_SECRET_SIZE: Final = 32
_PREFIX: Final = "jackfield-checkpoint-key-1 "


class SigningKey:
    """Signs, and checks signatures. Thread-safe; the secret is never shown.

    Attributes:
        id: Eight bytes that tell keys apart and give nothing away.
    """

    __slots__ = ("_start", "id")

    def __init__(self, secret: bytes) -> None:
        # BLAKE2 is made to be keyed (RFC 7693), and for small results the copy of a
        # keyed state is several times as fast as HMAC.
        self._start: blake2b = blake2b(key=secret, digest_size=DIGEST_SIZE)
        self.id: bytes = blake2b(
            b"", key=secret, digest_size=8, person=b"jackfield key id"
        ).digest()

    def __repr__(self) -> str:
        return f"<SigningKey {self.id.hex()}>"

    def __reduce__(self) -> Any:
        raise TypeError("a signing key does not leave its process")

    def sign(self, *parts: bytes | memoryview) -> bytes:
        """Return the signature of the parts, one after another."""
        state = self._start.copy()
        for part in parts:
            state.update(part)
        return state.digest()

    def verify(self, signature: bytes | memoryview, *parts: bytes | memoryview) -> bool:
        """Tell whether this key has made the signature.

        Takes as long whatever is wrong, so that nobody can find a signature by timing.
        """
        return compare_digest(signature, self.sign(*parts))


# -- Options


def trust_of(options: Mapping[str, Any]) -> Trust:
    """Return what a ``[checkpoint]`` table says of trust.

    Raises:
        ConfigurationError: It says something else.
    """
    trust = options.get("trust", "signed")
    if trust not in get_args(Trust):
        names = ", ".join(map(repr, get_args(Trust)))
        hint = suggest(str(trust), get_args(Trust))
        raise ConfigurationError(
            f"checkpoint.trust must be one of {names}, not {trust!r}{hint}"
        )
    return trust  # type: ignore[no-any-return]  # `in get_args` does not narrow


def signing_key(options: Mapping[str, Any]) -> SigningKey | None:
    """Return the key of a ``[checkpoint]`` table, made if it is this user's own.

    ``None`` if there is none and ``trust`` asks for none: results are then not signed.

    Raises:
        CheckpointError: The key cannot be read or made, or others can read it.
        ConfigurationError: ``key_file`` is no path, or ``trust`` is wrong.
    """
    trust = trust_of(options)
    file = options.get("key_file")
    path = str(file) if isinstance(file, str | Path) else ""
    if file is not None and (not path or NO_NAME.search(path)):
        raise ConfigurationError(f"checkpoint.key_file must be a path, not {file!r}.")
    try:
        return load_key(file)
    except CheckpointError:
        if trust == "signed" or file is not None:
            raise
        return None


# -- The file


def key_path(key_file: str | Path | None = None) -> tuple[Path, bool]:
    """Return where the key is, and whether somebody chose that place.

    The option comes first, then ``JACKFIELD_CHECKPOINT_KEY_FILE``, then
    ``jackfield/checkpoint.key`` in ``$XDG_CONFIG_HOME`` or ``~/.config``.
    """
    chosen = key_file or os.environ.get(KEY_FILE_VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute(), True
        return user_directory() / "checkpoint.key", False
    except RuntimeError as error:
        raise CheckpointError(
            f"there is no home directory for the signing key; name a file in "
            f"checkpoint.key_file or in {KEY_FILE_VARIABLE}."
        ) from error


def load_key(key_file: str | Path | None = None) -> SigningKey:
    """Read the key; make the user's own one if it does not exist yet.

    A file that was chosen must exist, or two members of a team could each make a key.

    Raises:
        CheckpointError: It cannot be read or made, or others can read it.
    """
    path, chosen = key_path(key_file)
    for _ in range(2):
        try:
            return SigningKey(_read(path, shared=chosen))
        except FileNotFoundError as error:
            if chosen:
                raise CheckpointError(
                    f"the signing key does not exist. Get a copy from your team, or "
                    f"make one: jackfield memo key --create --key-file {path}",
                    str(path),
                ) from error
            make_key(path)
        except OSError as error:
            raise _unusable(path, "read", error) from error
    raise CheckpointError("the signing key vanishes again and again.", str(path))


def make_key(path: Path) -> bool:
    """Make a key for this user alone; tell whether it is this call that has made it.

    One that exists stays. Safe between processes.

    Raises:
        CheckpointError: It cannot be made.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    text = f"{_PREFIX}{secrets.token_hex(_SECRET_SIZE)}\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, text.encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return _link(made, path)  # nobody ever reads a key that is half written
    except OSError as error:
        raise _unusable(path, "make", error) from error
    finally:
        made.unlink(missing_ok=True)


def _link(made: Path, path: Path) -> bool:
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    return True


def _read(path: Path, *, shared: bool) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        _check_private(path, status, shared=shared)
        text = file.read(1000).decode("ascii", "replace")
    try:
        if not text.startswith(_PREFIX):
            raise ValueError(text)  # noqa: TRY301  (as for digits that are none)
        secret = bytes.fromhex(text.removeprefix(_PREFIX).strip())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_SIZE:
        raise CheckpointError(
            "it is no signing key, or it is damaged. Restore it from a copy; results "
            "signed with a key that is lost are computed again.",
            str(path),
        )
    return secret


def _check_private(path: Path, status: os.stat_result, *, shared: bool) -> None:
    """Refuse a key that others could have read, or put there.

    A file that was chosen may be another's, and the group may read it.
    """
    mode = stat.S_IMODE(status.st_mode)
    if mode & (0o027 if shared else 0o077):
        raise CheckpointError(
            f"others can read or write the signing key (mode {mode:04o}). If they "
            f"could not misuse it: chmod {'640' if shared else '600'} {path}; else "
            f"remove it, and a new one is made.",
            str(path),
        )
    if not shared and status.st_uid not in (os.geteuid(), 0):
        raise CheckpointError(
            f"the signing key belongs to user {status.st_uid}, and you are "
            f"{os.geteuid()}. Name it in checkpoint.key_file if you mean to share it.",
            str(path),
        )


def _unusable(path: Path, doing: str, error: OSError) -> CheckpointError:
    why = error.strerror or str(error)
    return CheckpointError(
        f"cannot {doing} the signing key: {why}. Another place can be named in "
        f"checkpoint.key_file or in {KEY_FILE_VARIABLE}.",
        str(path),
    )
