from __future__ import annotations

import pytest

from jackfield.config.redact import redacted


@pytest.mark.parametrize(
    "name", ["password", "db_password", "secret", "aws_secret_access_key", "API_TOKEN"]
)
def test_what_is_named_like_a_secret_is_hidden(name: str) -> None:
    assert redacted(name, "hunter2") == "***"
    assert redacted("s3", {name: "hunter2", "region": "x"}) == {
        name: "***",
        "region": "x",
    }


@pytest.mark.parametrize("name", ["tokens_per_task", "keys", "workers", "secretary"])
def test_what_only_contains_such_a_name_is_shown(name: str) -> None:
    assert redacted(name, 7) == 7


def test_a_password_in_a_url_is_hidden() -> None:
    shown = redacted("store", "postgres://me:hunter2@host/db")

    assert shown == "postgres://me:***@host/db"


def test_a_url_with_nothing_to_hide_is_shown_as_it_is() -> None:
    assert redacted("store", "sqlite:///results.db") == "sqlite:///results.db"


def test_lists_are_looked_into() -> None:
    shown = redacted("mirrors", ["https://a:b@c/", {"token": "x"}])

    assert shown == ["https://a:***@c/", {"token": "***"}]


def test_no_secret_at_all_is_shown_as_none() -> None:
    assert redacted("token", None) is None
