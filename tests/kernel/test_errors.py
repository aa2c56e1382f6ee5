"""Every error keeps its facts and its text on the way through a pickle."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

import jackfield as jf
from jackfield import errors

EXAMPLES: dict[str, Any] = {
    "AppTimeout": errors.AppTimeout("slow", 2.5),
    "BashExitFailure": errors.BashExitFailure("align", 3, "see err.txt"),
    "CheckpointError": errors.CheckpointError("cannot open"),
    "DependencyError": errors.DependencyError(
        "7 (c)", ("1 (a)", "4 (b)"), "ValueError: x"
    ),
    "DuplicatePluginError": errors.DuplicatePluginError("g", "n", ("a 1", "b 2")),
    "ExecutorBrokenError": errors.ExecutorBrokenError("cpu", "cannot start"),
    "ExecutorError": errors.ExecutorError("cpu", "cannot start"),
    "JoinError": errors.JoinError("7 (c)", ("1 (a)",), "ValueError: x"),
    "MemoKeyError": errors.MemoKeyError("app", "argument 1", "no"),
    "MissingOutputs": errors.MissingOutputs("app", ("a", "b")),
    "NoProviderError": errors.NoProviderError("s4", "s4://x", ("ftp", "s3")),
    "PropagatedError": errors.PropagatedError("7 (c)", ("1 (a)",), "ValueError: x"),
    "PluginLoadError": errors.PluginLoadError("x", "dist 1.0", "ImportError: y"),
    "PluginNotFoundError": errors.PluginNotFoundError(
        "executor", "thread", ("threads",)
    ),
    "RemoteError": errors.RemoteError("my.Error", "text", "Traceback ..."),
    "SerializationError": errors.SerializationError("app", "argument 'x'", "no"),
    "TaskExitError": errors.TaskExitError("app", "SystemExit(3)"),
    "TransferError": errors.TransferError("http://x", "cut short", True, 1.5),
    "RemoteChangedError": errors.RemoteChangedError("http://x", "its etag is new"),
    "RemoteForbiddenError": errors.RemoteForbiddenError("http://x", "403"),
    "RemoteNotFoundError": errors.RemoteNotFoundError("http://x", "404"),
    "UnsupportedByExecutorError": errors.UnsupportedByExecutorError("app", ("no.",)),
    "EnvironmentMismatchError": errors.EnvironmentMismatchError(
        "dask", "install the same Python", "Python 3.11", "Python 3.12"
    ),
    "ExecutorLostError": errors.ExecutorLostError("far", "no worker for 60 s"),
    "WorkerLostError": errors.WorkerLostError("dask", "its walltime is over", True),
    "ResultLostError": errors.ResultLostError("dask", "7 (c)", "it is gone"),
    "WorkerDiedError": errors.WorkerDiedError("cpu", "killed", "7 (c)", -9),
}
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.JackfieldError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[errors.JackfieldError]) -> None:
    error = EXAMPLES.get(kind.__name__)
    if error is None:
        error = kind() if kind is errors.NoDataFlowKernelError else kind("text")

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert str(error)


def test_a_missing_plugin_suggests_the_nearest() -> None:
    assert str(EXAMPLES["PluginNotFoundError"]) == (
        "No executor plugin is named 'thread'; did you mean 'threads'? "
        "Installed: threads."
    )


def test_a_dependency_error_tells_the_way() -> None:
    assert str(EXAMPLES["DependencyError"]) == (
        "Task 7 (c) was not run, because task 1 (a) -> 4 (b) failed with ValueError: x"
    )


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        (("http://x",), {}),
        (("http://x", "cut short", True, 1.5, "more"), {}),
        (("http://x", "cut short"), {"reason": "again"}),
        (("http://x", "cut short"), {"retry": 3}),
    ],
    ids=["too few", "too many", "one twice", "unknown"],
)
def test_wrong_facts_are_refused(facts: Any, named: Any) -> None:
    with pytest.raises(TypeError, match="TransferError takes: url, reason, transient"):
        errors.TransferError(*facts, **named)


def test_facts_may_be_named_and_have_defaults() -> None:
    error = errors.TransferError("http://x", reason="cut short", transient=True)

    assert error.args == ("http://x", "cut short", True, None)


def test_what_tools_ask_a_module_for_is_looked_up_for_no_hint(
    install: Callable[..., None],
) -> None:
    """pytest asks ``jackfield`` for ``__test__`` in each file that imports it."""
    install(
        "lab-hints",
        "[jackfield.hints]\nlab = lab_hints:HINTS",
        lab_hints="HINTS = {'jackfield.chain': 'pass the future on'}",
    )
    assert not hasattr(jf, "__test__")
    assert "lab_hints" not in sys.modules
    with pytest.raises(AttributeError, match="'chain'; pass the future on"):
        jf.chain
    assert "lab_hints" in sys.modules
