"""Credentials stay with what moves files: programs of tasks do not get them."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

import jackfield as jf
from jackfield import AppFuture, bash_app, python_app
from jackfield.errors import TransferError
from jackfield_transfers.credentials import Credentials
from jackfield_transfers.secrecy import without_secrets

LIMIT_S = 60.0
NAME = "JACKFIELD_CREDENTIALS_LAB_PASSWORD"


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "hunter2")
    monkeypatch.setenv("JACKFIELD_CREDENTIALS_LAB_USER", "me")
    monkeypatch.setenv("JACKFIELD_STAGING__HTTPS__HEADERS__X_Api", "hunter2")


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_bash_apps_program_does_not_get_them(tmp_path: Path, plugin: str) -> None:
    out = tmp_path / "out.txt"

    with jf.load(run_dir=tmp_path / "runs", executors={"x": {"plugin": plugin}}):
        bash_app(_print_environment)(stdout=str(out)).result(LIMIT_S)

    text = out.read_text()
    assert "PATH=" in text
    assert "hunter2" not in text
    assert os.environ[NAME] == "hunter2"  # this process's own environment is as it was


def test_a_program_that_a_task_starts_in_a_worker_does_not_get_them(
    tmp_path: Path,
) -> None:
    with jf.load(run_dir=tmp_path, executors={"x": {"plugin": "processes"}}):
        started: AppFuture[str] = python_app(_start_a_program)()

        assert "hunter2" not in started.result(LIMIT_S)


def test_a_worker_still_knows_them_itself(tmp_path: Path) -> None:
    """What moves a file within a task looks them up where it is."""
    with jf.load(run_dir=tmp_path, executors={"x": {"plugin": "processes"}}):
        known = python_app(_look_up)().result(LIMIT_S)

    assert known == {"user": "me", "password": "hunter2"}


def _print_environment(stdout: str) -> str:
    return "env"


def _start_a_program() -> str:
    return subprocess.run(["env"], capture_output=True, text=True, check=True).stdout


def _look_up() -> dict[str, str]:
    return dict(Credentials().get("lab"))


# -- What a server sends back


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://host/file", {"user": "me", "password": "hunter2"}),
        ("https://me:hunter2@host/file", {}),
        ("https://m%65:hunter%32@host/file", {}),
    ],
)
def test_what_http_makes_of_a_password_is_redacted(
    url: str, credentials: dict[str, str]
) -> None:
    echoed = base64.b64encode(b"me:hunter2").decode()

    error = without_secrets(
        url, credentials, TransferError("x", f"you sent Basic {echoed}, which is wrong")
    )

    assert error is not None
    assert echoed not in str(error)
    assert "you sent Basic ***, which is wrong" in str(error)
