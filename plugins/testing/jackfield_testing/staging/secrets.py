"""Credentials: the right ones open, the wrong ones do not, and nobody shows them."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import jackfield as jf
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.staging import tasks
from jackfield_testing.staging.case import StagingCase, failure, needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pytest

    from jackfield_testing.staging.case import Run
    from jackfield_testing.staging.site import StagingSite

CANARY: Final = "c4n@ry/0f:the?kit%"
"""A secret that is nobody's, with what is encoded in URLs."""

PUBLIC: Final = frozenset({"user", "username", "key"})
"""Parts of credentials that say who, and are no secret."""


class Secrets(StagingCase):
    """What is shown where: errors, logs, events, the directory of the run."""

    def test_wrong_credentials_are_refused_and_not_shown(
        self,
        site: StagingSite,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        wrong = self._wrong(site)
        site.put("guarded.dat", b"guarded")

        caplog.set_level(logging.DEBUG)
        with self.running(site, tmp_path, credentials=wrong, log_level="DEBUG") as run:
            error = failure(run.read("guarded.dat"))
            shown = _shown(run, [error])

        assert isinstance(error, PermissionError)
        shown += [caplog.text, *capfd.readouterr()]
        _check_hidden([CANARY], shown, tmp_path)

    def test_wrong_credentials_send_nothing_and_are_not_shown(
        self,
        site: StagingSite,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        needs(self.stages_out, "does not stage out (stages_out)")
        wrong = self._wrong(site)
        site.put("guarded-made.dat", b"the older file")

        caplog.set_level(logging.DEBUG)
        with self.running(site, tmp_path, credentials=wrong, log_level="DEBUG") as run:
            future = run.write("guarded-made.dat", 1000)
            error = failure(future)
            shown = _shown(run, [error, failure(future.outputs[0])])

        assert isinstance(error, PermissionError)
        assert site.get("guarded-made.dat") == b"the older file"
        _check_hidden([CANARY], [*shown, caplog.text], tmp_path)

    def test_the_right_credentials_are_not_shown(
        self,
        site: StagingSite,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        secrets = _secrets(site.credentials)
        needs(bool(secrets), "is tested without credentials (StagingSite.credentials)")
        site.put("guarded.dat", b"guarded")

        caplog.set_level(logging.DEBUG)
        with self.running(site, tmp_path, log_level="DEBUG") as run:
            assert run.read("guarded.dat").result(WAIT_S) == b"guarded"
            shown = _shown(run, [failure(run.read("not-there.dat"))])

        shown += [caplog.text, *capfd.readouterr()]
        _check_hidden(secrets, shown, tmp_path)

    def test_a_login_in_the_url_is_used_and_not_shown(
        self,
        site: StagingSite,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        needs(self.login_in_url, "takes no login from the URL (login_in_url)")
        user, password = (site.credentials[part] for part in ("user", "password"))
        site.put("guarded.dat", b"guarded")
        right, absent, wrong = (
            _with_login(site.url("guarded.dat"), user, password),
            _with_login(site.url("not-there.dat"), user, password),
            _with_login(site.url("guarded.dat"), user, CANARY),
        )

        caplog.set_level(logging.DEBUG)
        with self.running(site, tmp_path, credentials={}, log_level="DEBUG") as run:
            assert run.submit(tasks.read, jf.File(right)).result(WAIT_S) == b"guarded"
            errors = [
                failure(run.submit(tasks.read, jf.File(url))) for url in (absent, wrong)
            ]
            shown = [*_shown(run, errors), repr(jf.File(wrong))]

        assert isinstance(errors[0], FileNotFoundError)
        assert isinstance(errors[1], PermissionError)
        _check_hidden([CANARY, password], [*shown, caplog.text], tmp_path)

    def _wrong(self, site: StagingSite) -> Mapping[str, str]:
        secrets = _secrets(site.credentials)
        needs(bool(secrets), "is tested without credentials (StagingSite.credentials)")
        return {
            part: value if part in PUBLIC else CANARY
            for part, value in site.credentials.items()
        }


def _secrets(credentials: Mapping[str, str]) -> list[str]:
    return [value for part, value in credentials.items() if part not in PUBLIC]


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return parts._replace(netloc=f"{who}@{parts.netloc}").geturl()


def _shown(run: Run, errors: Iterable[BaseException]) -> list[str]:
    """Return all that a program could print about a run and its errors."""
    shown = [repr(run.watcher.events), repr(run.kernel), repr(run.kernel.config)]
    shown.append(repr(run.kernel.summary()))
    for error in errors:
        shown += [str(error), repr(error), repr(vars(error))]
        shown += traceback.format_exception(error)
        shown.append(pickle.dumps(error, 0).decode("latin-1"))
    return shown


def _check_hidden(secrets: Iterable[str], shown: list[str], directory: Path) -> None:
    """Fail if a secret, as it is or encoded, is in what is shown or in a file."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    shown = [*shown, *(path.read_bytes().decode("latin-1") for path in files)]
    for secret in secrets:
        for form in {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}:
            where = next((text for text in shown if form in text), None)
            assert where is None, f"{form!r} is shown: {where[:2000]}"
