"""``jackfield export``: what other programs read is what the history says."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from jackfield import TransferEvent
from jackfield.events import AttemptRecord, Batch, Failure
from jackfield_cli import main
from jackfield_monitoring.export.tables import TABLES
from jackfield_monitoring.store.made_up import MONOTONIC_S, WALL_S, MadeUp
from jackfield_monitoring.store.reader import Store
from jackfield_monitoring.store.schema import FILE_NAME
from jackfield_monitoring.store.writer import RunRow, Writer

LIMIT_S = 40.0
HOSTILE = '<script>"\\",\n=1+1\u202e'


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "007"
    path.mkdir(parents=True)
    (path / "jackfield.log").touch()
    MadeUp(tasks=3_000, workers=70, failed=0.1).write(path / FILE_NAME)
    return path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def exported(run_dir: Path, form: str, output: Path) -> Path:
    result = export(str(run_dir), "--format", form, "-o", str(output))
    assert result.exit_code == 0, result.output
    assert str(output) in result.output
    return output


# -- Traces


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_a_trace_has_each_attempt_on_its_worker(
    run_dir: Path, tmp_path: Path, suffix: str
) -> None:
    path = exported(run_dir, "trace", tmp_path / f"trace{suffix}")

    content = path.read_bytes()
    trace = json.loads(gzip.decompress(content) if suffix.endswith("gz") else content)
    events: list[dict[str, Any]] = trace["traceEvents"]
    names = {
        (one["name"], one["pid"], one["tid"]): one["args"]["name"]
        for one in events
        if one["ph"] == "M"
    }
    slices = {
        (one["args"]["task"], one["args"]["attempt"]): one
        for one in events
        if one["ph"] == "X"
    }
    told = [one for batch in MadeUp(tasks=3_000, workers=70, failed=0.1).batches()
            for one in batch.attempts]  # fmt: skip
    assert len(slices) == len(told)
    for record in told:
        found, place = slices[record.task, record.attempt], record.place
        assert place is not None
        assert found["ts"] == pytest.approx((place.began - MONOTONIC_S) * 1e6, abs=2)
        assert found["dur"] == pytest.approx((place.ended - place.began) * 1e6, abs=2)
        assert names["thread_name", found["pid"], found["tid"]] == place.worker
        process = names["process_name", found["pid"], 0]
        assert process == f"cpu on {place.host}"
        assert found["args"]["state"] == ("failed" if record.failure else "succeeded")
        if record.failure:
            assert record.failure.kind in found["args"]["error"]
    assert any(one["ph"] == "C" for one in events)
    assert trace["otherData"]["began"] == WALL_S


def test_slices_of_a_thread_do_not_overlap(run_dir: Path, tmp_path: Path) -> None:
    path = exported(run_dir, "trace", tmp_path / "trace.json")

    rows = sorted(
        (one["pid"], one["tid"], one["ts"], one["ts"] + one["dur"])
        for one in json.loads(path.read_text())["traceEvents"]
        if one["ph"] == "X"
    )
    for before, after in pairwise(rows):
        assert before[:2] != after[:2] or before[3] <= after[2]


def test_what_overlaps_is_shown_side_by_side(tmp_path: Path) -> None:
    run = RunRow("a" * 32, "/", 0, 0, "h", "u", 1, "3", "0", "[]", "/")
    writer = Writer(tmp_path / FILE_NAME, run)
    (tmp_path / "jackfield.log").touch()
    attempts = [
        AttemptRecord(number, 1, "grid", 1.0, 2.0, None, None, None)
        for number in range(3)
    ]
    transfer = TransferEvent(
        5, "https://host/a", "in", "started", 1, 0, None, 0.0, None, 0.0, 1.5, None
    )  # fmt: skip
    writer.write([Batch(0.0, 3.0, attempts=attempts, transfers=[transfer], lost=4)])
    writer.close()

    path = exported(tmp_path, "trace", tmp_path / "trace.json")

    events = json.loads(path.read_text())["traceEvents"]
    pairs = [(one["ph"], one["cat"], one["id"]) for one in events if one["ph"] in "be"]
    grid = [(ph, "grid", number) for number in (1, 2, 3) for ph in "be"]
    assert pairs == [*grid, ("b", "in", 5), ("e", "in", 5)]
    assert [one["name"] for one in events if one["ph"] == "i"] == ["4 records lost"]


# -- Tables


@pytest.mark.parametrize("zipped", [False, True], ids=["directory", "zip"])
def test_pandas_reads_csv(run_dir: Path, tmp_path: Path, zipped: bool) -> None:
    path = exported(run_dir, "csv", tmp_path / ("out.zip" if zipped else "out"))

    def read(name: str) -> Any:
        if not zipped:
            return pd.read_csv(path / f"{name}.csv")
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.csv") as file:
            return pd.read_csv(file)

    tasks, attempts = read("tasks"), read("attempts")
    with Store(run_dir) as store:
        counts = {state.value: n for state, n in store.counts().items()}
        first = store.tasks()[0]
    assert tasks["state"].value_counts().to_dict() == counts
    assert tasks["submitted"][0] == pytest.approx(
        WALL_S + first.submitted / 1e6 - MONOTONIC_S
    )
    assert (attempts["ended"] > attempts["began"]).all()
    assert set(attempts["worker"]) == {f"cpu-{number}" for number in range(70)}
    for table in TABLES:
        assert list(read(table.name).columns) == [one.name for one in table.columns]


def test_pandas_reads_parquet(run_dir: Path, tmp_path: Path) -> None:
    path = exported(run_dir, "parquet", tmp_path / "out")

    tasks = pd.read_parquet(path / "tasks.parquet")
    attempts = pd.read_parquet(path / "attempts.parquet")
    with Store(run_dir) as store:
        counts = {state.value: n for state, n in store.counts().items()}
        matrix = store.matrix()
    assert tasks["state"].value_counts().to_dict() == counts
    assert str(tasks["submitted"].dtype) == "datetime64[us, UTC]"
    took = (attempts["ended"] - attempts["began"]).sum()
    assert took.total_seconds() == pytest.approx(sum(one.busy for one in matrix) / 1e6)
    for table in TABLES:
        found = pd.read_parquet(path / f"{table.name}.parquet")
        assert list(found.columns) == [one.name for one in table.columns]


def test_long_tables_are_read_in_pages(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_monitoring.store.reader.CHUNK", 7)
    path = exported(run_dir, "csv", tmp_path / "out")

    edges = pd.read_csv(path / "edges.csv")
    told = [
        (task.task, parent)
        for batch in MadeUp(tasks=3_000, workers=70, failed=0.1).batches()
        for task in batch.tasks
        for parent in task.depends_on
    ]
    assert list(edges.itertuples(index=False, name=None)) == sorted(told)
    assert len(pd.read_csv(path / "tasks.csv")) == 3_000


def test_hostile_texts_come_through(tmp_path: Path) -> None:
    run = RunRow("a" * 32, "/", 0, 0, "h", "u", 1, "3", "0", "[]", "/")
    writer = Writer(tmp_path / FILE_NAME, run)
    (tmp_path / "jackfield.log").touch()
    batch = list(MadeUp(tasks=1, memoized=0).batches())[1]
    record = batch.tasks[0]._replace(
        app=HOSTILE, call=HOSTILE, failure=Failure("E", HOSTILE)
    )
    writer.write([Batch(0.0, 1.0, tasks=[record], attempts=batch.attempts)])
    writer.close()

    trace = exported(tmp_path, "trace", tmp_path / "trace.json")
    csv = exported(tmp_path, "csv", tmp_path / "csv")
    parquet = exported(tmp_path, "parquet", tmp_path / "parquet")

    stored = HOSTILE.replace("\u202e", "\\u202e")
    names = {one["name"] for one in json.loads(trace.read_text())["traceEvents"]}
    assert stored in names
    assert pd.read_csv(csv / "tasks.csv")["call"][0] == stored
    assert pd.read_parquet(parquet / "tasks.parquet")["call"][0] == stored


# -- The command


def test_the_last_run_has_a_name_of_its_own(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    for form, name in [("trace", "run-007.trace.json.gz"), ("csv", "run-007-csv")]:
        result = export("--format", form, "--dir", str(run_dir.parent))
        assert result.output == f"Written: {name}\n"
        assert (tmp_path / name).exists()
    assert {one.name for one in tmp_path.iterdir()} == {
        "runs", "run-007.trace.json.gz", "run-007-csv",
    }  # fmt: skip


def test_a_run_that_goes_on_is_exported(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / FILE_NAME).unlink()
    MadeUp(tasks=3_000, unfinished=100).write(run_dir / FILE_NAME)

    path = exported(run_dir, "csv", tmp_path / "out")

    tasks = pd.read_csv(path / "tasks.csv")
    assert tasks["ended"].isna().sum() == 100


def test_nothing_is_mixed_with_what_is_there(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tasks.csv").write_text("mine")

    result = export(str(run_dir), "--format", "csv", "-o", str(tmp_path / "out"))

    assert result.exit_code == 1
    assert "not empty" in result.output
    assert (tmp_path / "out" / "tasks.csv").read_text() == "mine"


@pytest.mark.parametrize("form", ["trace", "csv", "parquet"])
def test_a_run_without_a_history_is_told(form: str, tmp_path: Path) -> None:
    (tmp_path / "jackfield.log").touch()

    result = export(str(tmp_path), "--format", form, "-o", str(tmp_path / "out"))

    assert result.exit_code == 1
    assert "There is no history" in result.output
    assert not (tmp_path / "out").exists()


def test_a_pipe_is_written_into_and_not_replaced(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "pipe"
    os.mkfifo(target)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(target.read_text("utf-8")))
    reader.start()

    result = export(str(run_dir), "--format", "trace", "-o", str(target))

    reader.join(LIMIT_S)
    assert result.exit_code == 0, result.output
    assert target.is_fifo()
    assert json.loads(read[0])["traceEvents"]


def test_half_a_trace_is_not_left_behind(run_dir: Path, tmp_path: Path) -> None:
    with (run_dir / FILE_NAME).open("r+b") as file:
        file.seek(200_000)
        file.write(b"\xff" * 100_000)

    result = export(str(run_dir), "--format", "trace", "-o", str(tmp_path / "t.json"))

    assert result.exit_code == 1
    assert "damaged" in result.output
    assert [one.name for one in tmp_path.iterdir()] == ["runs"]


def test_without_pyarrow_the_way_to_get_it_is_told(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = export(str(run_dir), "--format", "parquet", "-o", str(tmp_path / "out"))

    assert result.exit_code == 1
    assert "pip install 'jackfield[parquet]'" in result.output
    assert not (tmp_path / "out").exists()
