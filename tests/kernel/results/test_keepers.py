"""Whoever keeps results for later runs, the kernel uses them in the same way."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import CheckpointError, KernelClosedError, PluginLoadError
from jackfield.keeping import CachedCall, Explanation, ResultKeeper, Stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jackfield.keeping import Done, IdentifyCode, Surroundings
    from jackfield.memo_keys import Manifest


class InADict(ResultKeeper):
    """Keeps results in a dict that outlives kernels."""

    writes = True
    promise = ""

    def __init__(self, kept: dict[bytes, bytes], error: CheckpointError | None) -> None:
        self._kept = kept
        self._error = error
        self.closed: int = 0

    def load(
        self, app: str, key: bytes, identify: IdentifyCode, missing: str = ""
    ) -> Stored | str:
        data = self._kept.get(key)
        return "" if data is None else Stored(pickle.loads(data), data)

    def save(
        self, app: str, key: bytes, value: bytes, manifest: Manifest, done: Done
    ) -> None:
        if self._error is None:
            self._kept[key] = value
        done(self._error)

    def not_stored(self, app: str, error: BaseException) -> None:
        raise AssertionError(error)

    def flush(self) -> None:
        return None

    def explain(self, call: CachedCall) -> Explanation:
        return Explanation(call.app, call.task, "miss", None, ("because",))

    def close(self) -> None:
        self.closed += 1


class Plugin:
    """Makes such keepers, and knows them."""

    def __init__(self, error: CheckpointError | None = None) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.error = error
        self.made: list[InADict] = []

    @jf.hookimpl
    def jackfield_create_keeper(
        self, table: Mapping[str, Any], around: Surroundings
    ) -> ResultKeeper:
        self.made.append(InADict(self.kept, self.error))
        return self.made[-1]


@jf.python_app(cache=True)
def double(x: int) -> list[int]:
    return [x, x]


def config(tmp_path: Path, *plugins: object) -> jf.Config:
    return jf.Config(run_dir=tmp_path / "runs", plugins=plugins)


def test_what_one_run_gives_the_next_one_gets(tmp_path: Path) -> None:
    plugin = Plugin()
    with jf.load(config(tmp_path, plugin)):
        first = double(2)
        assert first.result(60) == [2, 2]
        assert jf.explain(first).reasons == ("because",)
    with jf.load(config(tmp_path, plugin)):
        second = double(2)
        assert second.result(60) == [2, 2]

    assert (first.memo.status, second.memo.status) == ("miss", "hit")
    assert [keeper.closed for keeper in plugin.made] == [1, 1]


def test_a_run_without_cached_calls_asks_for_none(tmp_path: Path) -> None:
    plugin = Plugin()

    with jf.load(config(tmp_path, plugin)) as kernel:
        kernel.submit(len, "ab").result(60)
        kernel.checkpoint()

    assert plugin.made == []
    with pytest.raises(KernelClosedError):
        kernel.checkpoint()


def test_a_task_fails_with_what_the_keeper_says(tmp_path: Path) -> None:
    error = CheckpointError("the shelf is full.")

    with jf.load(config(tmp_path, Plugin(error))):
        assert double(2).exception(60) is error


def test_without_any_keeper_a_cached_call_fails_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-signed")

    with jf.load(config(tmp_path)) as kernel:
        error = double(2).exception(60)
        assert kernel.submit(len, "ab").result(60) == 2

    assert isinstance(error, PluginLoadError)
    assert "signed" in str(error)
