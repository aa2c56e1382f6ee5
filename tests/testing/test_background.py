"""A test learns what happened on a thread that it has started."""

from __future__ import annotations

import threading

import pytest

from jackfield_testing.background import Background


def test_what_it_calls_has_returned_at_its_end() -> None:
    done = threading.Event()

    Background(done.set).finish()

    assert done.is_set()


def test_an_error_reaches_the_test() -> None:
    def fail() -> None:
        raise ValueError("on another thread")

    with pytest.raises(ValueError, match="on another thread"):
        Background(fail).finish()


def test_what_would_end_the_run_fails_the_test_alone() -> None:
    def fail() -> None:
        raise KeyboardInterrupt("on another thread")

    with pytest.raises(AssertionError, match=r"KeyboardInterrupt.*on another thread"):
        Background(fail).finish()


def test_a_function_that_hangs_is_given_up() -> None:
    go_on = threading.Event()
    hanging = Background(go_on.wait)

    with pytest.raises(AssertionError, match=r"wait.* does not return within 0\.1 s"):
        hanging.finish(0.1)

    go_on.set()
    hanging.finish()
