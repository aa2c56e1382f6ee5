"""``[plugins.keyring]``: credentials out of the system's keyring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import PluginNotFoundError

keyring = pytest.importorskip("keyring", reason="needs keyring: pip install keyring")
from keyring.backend import KeyringBackend  # noqa: E402  (after the look for it)
from keyring.errors import KeyringLocked, PasswordDeleteError  # noqa: E402

LIMIT_S = 20.0


class Kept(KeyringBackend):
    """A keyring that lives as long as the test."""

    priority = 0.1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs has no types
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("the keyring stays locked")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        raise PasswordDeleteError(service)


@pytest.fixture
def backend() -> Iterator[Kept]:
    """Make a keyring the system's for the test."""
    before = keyring.get_keyring()
    kept = Kept()
    keyring.set_keyring(kept)
    yield kept
    keyring.set_keyring(before)


class Shelf:
    """A provider that tells which credentials it was given."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.given = dict(transfer.credentials)
        return transfer.receive([b"content"])


@jf.python_app
def read(file: jf.File) -> str:
    return Path(file).read_text()


def table(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "run_dir": str(tmp_path / "runs"),
        "staging": {"shelf": {"credentials": "lab"}},
        "plugins": {"keyring": {}},
        **changes,
    }


def test_a_file_is_fetched_with_what_the_keyring_has(
    backend: Kept, tmp_path: Path
) -> None:
    keyring.set_password("jackfield:lab", "user", "me")
    keyring.set_password("jackfield:lab", "password", "hunter2")
    keyring.set_password("jackfield:other", "token", "elsewhere")
    shelf = Shelf()

    with jf.load(table(tmp_path), plugins=[shelf]):
        assert read(jf.File("shelf://host/x")).result(LIMIT_S) == "content"

    assert shelf.given == {"user": "me", "password": "hunter2"}


def test_a_name_that_it_does_not_have_is_looked_up_elsewhere(
    backend: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_CREDENTIALS_LAB_TOKEN", "from outside")
    shelf = Shelf()

    with jf.load(table(tmp_path), plugins=[shelf]):
        read(jf.File("shelf://host/x")).result(LIMIT_S)

    assert shelf.given == {"token": "from outside"}


def test_a_keyring_that_stays_locked_fails_the_transfer_with_its_reason(
    backend: Kept, tmp_path: Path
) -> None:
    backend.locked = True

    with jf.load(table(tmp_path), plugins=[Shelf()]):
        error = read(jf.File("shelf://host/x")).exception(LIMIT_S)

    assert "the keyring stays locked" in str(error)


def test_without_the_table_nobody_asks_the_keyring(
    backend: Kept, tmp_path: Path
) -> None:
    keyring.set_password("jackfield:lab", "user", "me")

    with jf.load(table(tmp_path, plugins={}), plugins=[Shelf()]):
        error = read(jf.File("shelf://host/x")).exception(LIMIT_S)

    assert "nobody knows them" in str(error)


def test_it_has_no_options(tmp_path: Path) -> None:
    with (
        pytest.raises(jf.ConfigurationError, match=r"keyring has no option 'service'"),
        jf.load(table(tmp_path, plugins={"keyring": {"service": "x"}})),
    ):
        pass


def test_a_misspelt_name_gets_a_suggestion(tmp_path: Path) -> None:
    with (
        pytest.raises(PluginNotFoundError, match=r"did you mean 'keyring'\?"),
        jf.load(table(tmp_path, plugins={"keyrng": {}})),
    ):
        pass
