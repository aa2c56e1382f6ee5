from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from jackfield_cli.config import config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(*args: str, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(config, ["show", *args], env=env)


def table(output: str) -> dict[str, Sequence[str]]:
    """Return key to value and source of a printed table."""
    rows = [line.split(maxsplit=2) for line in output.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_each_value_is_printed_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 2\nmax_pending = 5")

    shown = show(env={"JACKFIELD_RETRIES": "3"})

    assert shown.exit_code == 0, shown.output
    rows = table(shown.output)
    assert rows["KEY"] == ["VALUE", "FROM"]
    assert rows["retries"] == ["3", "environment variable JACKFIELD_RETRIES"]
    assert rows["max_pending"] == ["5", str(tmp_path / "jackfield.toml")]
    assert rows["executors.threads.plugin"] == ['"threads"', "default"]


def test_the_columns_are_aligned() -> None:
    lines = show().output.splitlines()
    del lines[: next(i for i, line in enumerate(lines) if line.startswith("KEY"))]

    column = lines[0].index("FROM")
    assert {line[column:] for line in lines[1:]} == {"default"}


def test_one_long_value_does_not_push_the_others_away(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text(f"run_dir = {'x' * 200!r}")

    lines = show().output.splitlines()

    assert min(map(len, lines)) < 60


def test_json_has_the_same() -> None:
    shown = show("--json", env={"JACKFIELD_EXECUTORS__THREADS__WORKERS": "4"})

    values = json.loads(shown.output)
    assert values["retries"] == {"value": 0, "from": "default"}
    assert values["executors.threads.workers"] == {
        "value": 4,
        "from": "environment variable JACKFIELD_EXECUTORS__THREADS__WORKERS",
    }


@pytest.mark.parametrize("format_", ["--json", None])
def test_secrets_are_hidden(tmp_path: Path, format_: str | None) -> None:
    (tmp_path / "jackfield.toml").write_text(
        """
        [staging.s3]
        secret_key = "hunter2"
        [checkpoint]
        store = "postgres://me:hunter2@host/db"
        tokens = [{token = "hunter2"}]
        """
    )

    shown = show(*([format_] if format_ else []))

    assert shown.exit_code == 0
    assert "staging.s3.secret_key" in shown.output
    assert "hunter2" not in shown.output


def test_a_path_is_shown_as_text() -> None:
    shown = show("--json", env={"JACKFIELD_RUN_DIR": "~/runs"})

    assert json.loads(shown.output)["run_dir"]["value"] == str(Path.home() / "runs")


def test_the_search_can_begin_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "jackfield.toml").write_text("retries = 2")

    assert table(show(str(elsewhere)).output)["retries"][0] == "2"


def test_a_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("retries = 2")

    shown = show("--config", "other.toml")

    assert table(shown.output)["retries"] == ["2", "other.toml"]


def test_a_mistake_is_told_in_a_sentence_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("retrys = 2")

    shown = show()

    assert shown.exit_code == 1
    assert shown.output.startswith("Error: 'retrys'")
    assert "did you mean 'retries'" in shown.output


def test_an_unknown_profile_is_told_with_those_that_are_installed() -> None:
    shown = show("--profile", "no-such-profile")

    assert shown.exit_code == 1
    assert "No profile plugin is named 'no-such-profile'" in shown.output


def test_an_installed_profile_is_shown_with_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "my_lab-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: my-lab\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        "[jackfield.profiles]\nlab = my_lab_profiles:lab\n"
    )
    (tmp_path / "my_lab_profiles.py").write_text(
        "def lab():\n  return {'retries': 4}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    shown = show("--profile", "lab")

    assert table(shown.output)["retries"] == ["4", "profile 'lab' from my-lab 1.2"]
