"""The report: one file, small, harmless, and the same whatever is in the run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.monitoring.conftest import record

from jackfield_cli import main
from jackfield_monitoring.pages import bundle
from jackfield_monitoring.pages.report import report_of
from jackfield_monitoring.runs import read
from jackfield_monitoring.store.reader import Store

LIMIT_S = 40.0


def report(run: Path) -> str:
    with Store(run) as store:
        return report_of(read(run), store)


def overview(text: str) -> dict[str, Any]:
    packed = re.findall(r'<script type="text/plain" id="overview">([^<]*)<', text)[0]
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


@pytest.mark.parametrize(("workers", "apps"), [(64, 12), (2_000, 500)])
def test_a_hundred_thousand_tasks_are_less_than_a_megabyte(
    made_up: Callable[..., Path], workers: int, apps: int
) -> None:
    text = report(made_up(tasks=100_000, workers=workers, apps=apps))

    print(f"100,000 tasks of {apps} apps: {len(text.encode()) / 1e6:.2f} MB")
    assert len(text.encode()) < 1_000_000


def test_its_policy_lets_in_its_own_script_and_style_alone(
    made_up: Callable[..., Path],
) -> None:
    text = report(made_up(tasks=5))
    policy = re.findall(r'Policy" content="([^"]*)"', text)[0]
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)

    assert policy.startswith("default-src 'none'; ")
    for inner in (script, style):
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert text.count("<script") == 3
    assert "style=" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)


def test_modules_share_no_name() -> None:
    """Else one would hide the other when they are put into one script."""
    declared = re.compile(
        r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+|\[[^\]]*\])",
        re.MULTILINE,
    )
    names = Counter(
        name
        for one in sorted(bundle.names())
        if one.endswith(".js") and one != "dashboard.js"
        for found in declared.findall(bundle.file(one).decode())
        for name in re.findall(r"\w+", found)
    )

    assert [name for name, times in names.items() if times > 1] == []
    script = bundle.script("report.js")
    assert not re.search(r"^(?:import|export)\b", script, re.MULTILINE)


def test_a_script_leaves_out_comments_alone() -> None:
    code: Counter[str] = Counter()
    for name in bundle.names():
        if not name.endswith(".js") or name in {"dashboard.js", "compare.js"}:
            continue
        comment = False
        for line in map(str.strip, bundle.file(name).decode().splitlines()):
            # A text over lines could look like a comment, and would lose its indents.
            assert line.count("`") % 2 == 0, (name, line)
            comment = comment or line.startswith("/**")
            begins = comment or line.startswith("//")
            if comment and "*/" in line:
                comment, begins = False, line.endswith("*/")
            if line and not begins and not line.startswith("import "):
                code[line.removeprefix("export ")] += 1

    assert Counter(bundle.script("report.js").splitlines()) == code


def test_colours_are_as_scripts_read_them() -> None:
    """What is drawn pixel by pixel mixes them by six digits."""
    colours = re.findall(r"--[\w-]+: *(#\w+)", bundle.file("page.css").decode())

    assert len(colours) > 40
    assert [one for one in colours if not re.fullmatch(r"#[0-9a-f]{6}", one)] == []


def test_no_module_makes_markup_of_texts() -> None:
    wrong = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"
        r"|setAttribute\(\"style|https?://(?!www\.w3\.org)"
    )
    for name in bundle.names():
        assert not wrong.findall(bundle.file(name).decode()), name


def test_it_tells_what_it_leaves_out(made_up: Callable[..., Path]) -> None:
    whole, part = made_up(0, tasks=20), made_up(1, tasks=2_000)

    assert overview(report(whole))["overview"]["left"] == []
    assert len(overview(report(whole))["details"]) == 20
    told = overview(report(part))
    assert str(len(told["details"])) in told["overview"]["left"][0]


def test_which_apps_depend_on_which_comes_out_as_it_is_stored(
    made_up: Callable[..., Path],
) -> None:
    run = made_up(tasks=3_000, apps=40, depending=0.9)

    told = overview(report(run))["overview"]

    pair = 0
    pairs: dict[tuple[str, str], int] = {}
    for step, n in zip(told["edges"]["steps"], told["edges"]["n"], strict=True):
        assert step > 0 or not pairs
        pair += step
        parent, child = (told["apps"][one]["name"] for one in divmod(pair, 40))
        pairs[parent, child] = n
    with Store(run) as store:
        names = {app.id: app.name for app in store.apps()}
        stored = {(names[e.parent], names[e.child]): e.n for e in store.app_edges()}
    assert len(told["apps"]) == 40
    assert pairs == stored
    assert len(pairs) > 100


def test_each_group_of_failures_has_tasks_with_details(
    made_up: Callable[..., Path],
) -> None:
    told = overview(report(made_up(tasks=3_000, failed=0.05)))

    for group in told["overview"]["failures"]:
        assert group["first"] is None or str(group["first"]) in told["details"]


def test_the_command_writes_a_file_for_its_user(
    made_up: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    made_up(7, tasks=5)
    target = tmp_path / "r.html"

    done = CliRunner().invoke(
        main, ["report", "7", "--dir", str(runs), "-o", str(target)]
    )

    assert done.exit_code == 0, done.output
    assert str(target) in done.output
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {one.name for one in tmp_path.iterdir()} == {"runs", "r.html"}


def test_a_run_without_a_history_gets_what_its_record_tells(
    runs: Path, tmp_path: Path
) -> None:
    run = runs / "000"
    run.mkdir()
    record(run)

    done = CliRunner().invoke(main, ["report", "--dir", str(runs), "-o", "r.html"])

    assert done.exit_code == 0, done.output
    told = overview(Path("r.html").read_text("utf-8"))["overview"]
    assert told["counts"][5] == 3
    assert told["failureLines"] == ["Task 3 failed: no"]
    assert "[monitors.db]" in told["advice"]


def test_a_place_that_cannot_be_written_is_a_sentence(
    made_up: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    made_up(tasks=2)
    target = tmp_path / "missing/r.html"

    done = CliRunner().invoke(main, ["report", "--dir", str(runs), "-o", str(target)])

    assert done.exit_code == 1
    assert f"{target} cannot be written" in done.output


def test_a_pipe_is_written_into_and_not_replaced(
    made_up: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    made_up(tasks=2)
    target = tmp_path / "pipe"
    os.mkfifo(target)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(target.read_text("utf-8")))
    reader.start()

    done = CliRunner().invoke(main, ["report", "--dir", str(runs), "-o", str(target)])

    reader.join(LIMIT_S)
    assert done.exit_code == 0, done.output
    assert target.is_fifo()
    assert read[0].startswith("<!doctype html>")
