"""The key: made once, private, shared on purpose only, and never shown."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jackfield.errors import CheckpointError, ConfigurationError
from jackfield_results.signing import (
    KEY_FILE_VARIABLE,
    SigningKey,
    key_path,
    load_key,
    make_key,
    signing_key,
    trust_of,
)

OTHER_USER = 65534
MAKERS = 6
LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory of the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "jackfield" / "checkpoint.key"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- signing


def test_a_signature_is_for_one_text_and_one_key() -> None:
    key, other = SigningKey(b"a" * 32), SigningKey(b"b" * 32)
    signature = key.sign(b"one", b"two")

    assert key.verify(signature, b"onetwo")
    assert not key.verify(signature, b"onetw")
    assert not key.verify(signature[:-1], b"onetwo")
    assert not other.verify(signature, b"onetwo")
    assert key.id != other.id


def test_a_key_does_not_show_itself() -> None:
    key = SigningKey(b"secret" * 5)

    assert "secret" not in repr(key)
    assert key.id.hex() in repr(key)
    with pytest.raises(TypeError, match="process"):
        pickle.dumps(key)


# -- making


def test_the_key_is_made_on_first_use_and_stays(home: Path) -> None:
    first = load_key()

    assert load_key().id == first.id
    assert mode(home) == 0o600
    assert mode(home.parent) == 0o700
    assert [path.name for path in home.parent.iterdir()] == [home.name]


def test_the_umask_does_not_open_it(home: Path) -> None:
    before = os.umask(0)
    try:
        load_key()
    finally:
        os.umask(before)

    assert mode(home) == 0o600


def test_without_xdg_it_is_under_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    load_key()

    assert (tmp_path / "home/.config/jackfield/checkpoint.key").exists()


def test_processes_that_use_it_first_at_once_agree(home: Path) -> None:
    code = (
        "import sys, time; from jackfield_results.signing import load_key\n"
        "while time.time() < float(sys.argv[1]): pass\n"
        "print(load_key().id.hex())"
    )
    at = str(time.time() + 1.0)
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, at], stdout=subprocess.PIPE, text=True
        )
        for _ in range(MAKERS)
    ]
    told = {maker.communicate(timeout=LIMIT_S)[0].strip() for maker in makers}

    assert told == {load_key().id.hex()}
    assert [path.name for path in home.parent.iterdir()] == [home.name]


def test_making_it_twice_keeps_the_first(home: Path) -> None:
    assert make_key(home)
    kept = home.read_bytes()

    assert not make_key(home)
    assert home.read_bytes() == kept


def test_a_home_that_cannot_be_written_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))

    with pytest.raises(CheckpointError, match=KEY_FILE_VARIABLE):
        load_key()


# -- refusing


@pytest.mark.parametrize("wrong", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_can_read_or_write_is_refused(home: Path, wrong: int) -> None:
    load_key()
    home.chmod(wrong)

    with pytest.raises(CheckpointError, match=f"{wrong:04o}.*chmod 600"):
        load_key()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(home: Path) -> None:
    load_key()
    os.chown(home, OTHER_USER, -1)

    with pytest.raises(CheckpointError, match=f"user {OTHER_USER}"):
        load_key()


@pytest.mark.parametrize(
    "text",
    ["", "x", "jackfield-checkpoint-key-1 ", "jackfield-checkpoint-key-1 00ff\n"],
)
def test_a_damaged_key_is_told_and_stays(home: Path, text: str) -> None:
    load_key()
    home.write_text(text)

    with pytest.raises(CheckpointError, match="damaged"):
        load_key()
    assert home.read_text() == text


# -- sharing


def test_an_option_beats_a_variable_beats_the_users_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_path() == (home, False)
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(tmp_path / "team"))
    assert key_path() == (tmp_path / "team", True)
    assert key_path("other") == (Path.cwd() / "other", True)


def test_a_shared_key_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="memo key --create"):
        load_key(tmp_path / "team.key")

    assert not (tmp_path / "team.key").exists()


def test_the_group_may_read_a_shared_key(tmp_path: Path) -> None:
    team = tmp_path / "team.key"
    make_key(team)
    team.chmod(0o640)

    assert load_key(team).id == load_key(str(team)).id


@pytest.mark.parametrize("wrong", [0o660, 0o604, 0o644])
def test_others_may_not_read_a_shared_key(tmp_path: Path, wrong: int) -> None:
    team = tmp_path / "team.key"
    make_key(team)
    team.chmod(wrong)

    with pytest.raises(CheckpointError, match="chmod 640"):
        load_key(team)


def test_a_copy_of_a_key_is_the_same_key(home: Path, tmp_path: Path) -> None:
    mine = load_key()
    copy = tmp_path / "copy"
    copy.touch(mode=0o600)
    copy.write_bytes(home.read_bytes())

    assert load_key(copy).id == mine.id


# -- the table


def test_a_table_names_key_and_trust(tmp_path: Path) -> None:
    make_key(tmp_path / "team.key")
    table: dict[str, Any] = {"key_file": str(tmp_path / "team.key"), "trust": "owner"}

    key = signing_key(table)

    assert trust_of(table) == "owner"
    assert trust_of({}) == "signed"
    assert key is not None
    assert key.id == load_key(tmp_path / "team.key").id


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"trust": "sined"}, "did you mean 'signed'"),
        ({"trust": True}, "'owner'"),
        ({"key_file": 3}, "must be a path"),
        ({"key_file": ""}, "must be a path"),
        ({"key_file": "a\0b"}, "must be a path"),
    ],
)
def test_a_wrong_table_is_told(table: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        signing_key(table)


def test_where_no_signature_is_asked_for_no_key_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))

    assert signing_key({"trust": "owner"}) is None
    with pytest.raises(CheckpointError):
        signing_key({})
