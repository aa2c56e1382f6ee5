"""Rows on pages of runs: what a report takes to make, to send and to draw.

The runs never were (``jackfield_monitoring.store.made_up``), so that there are some of
any size. What a browser does is measured where there are Chromium and selenium.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rows import Bar, Case, Metric, Row

WORKERS = 64
LIMIT_S = 120.0

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def _row(size: str, n: int, *bars: tuple[Bar, ...], full: bool = False) -> Row:
    mb, drawn = bars or ((), ())
    return Row(
        f"report-{size}",
        (Case("-", "pages.report", n, "report"),),
        (
            Metric("make_s", f"report of {size} tasks, s to make"),
            Metric("make_mb", f"report of {size} tasks, MB of memory to make it"),
            Metric("mb", f"report of {size} tasks, MB", bars=mb),
            Metric("drawn_ms", f"report of {size} tasks, ms until drawn", bars=drawn),
            Metric("page_mb", f"report of {size} tasks, MB of the page's process, most"),
            Metric("redrawn_ms", f"report of {size} tasks, ms to draw the timeline anew"),
        ),
        full=full,
    )  # fmt: skip


ROWS = [
    _row("1e4", 10_000),
    _row("1e5", 100_000, (Bar("at most", 1.0),), (Bar("at most", 1_000.0),)),
    _row("1e6", 1_000_000, full=True),
]


def report(system: None, n: int) -> dict[str, float]:
    """Make the report of a run that never was, and open it."""
    del system
    from jackfield_monitoring.pages.report import report_of, write
    from jackfield_monitoring.runs import read
    from jackfield_monitoring.store.made_up import MadeUp
    from jackfield_monitoring.store.reader import Store

    run = Path(os.environ["BENCH_DIR"]) / "000"
    run.mkdir()
    pid = os.fork()  # so that the memory which this takes is not counted
    if pid == 0:
        MadeUp(tasks=n, workers=WORKERS, apps=12).write(run / "monitor.db")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    before, start = _most_mb(), time.perf_counter()
    page = run / "report.html"
    with Store(run) as store:
        write(page, report_of(read(run), store))
    figures = {
        "make_s": time.perf_counter() - start,
        "make_mb": _most_mb() - before,
        "mb": page.stat().st_size / 1e6,
    }
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium and driver and find_spec("selenium"):
        figures |= _drawn(page, chromium, driver, n)
    return figures


def _most_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _drawn(page: Path, chromium: str, driver: str, n: int) -> dict[str, float]:
    """Open a report in a browser; return what it says of itself."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = chromium
    for argument in OPTIONS:
        options.add_argument(argument)
    with webdriver.Chrome(options, Service(driver)) as browser:
        browser.get(page.as_uri())
        ready = _until(browser, "return document.documentElement.dataset.ready")
        cards = browser.execute_script(
            "return document.querySelector('.cards').textContent"
        )
        assert f"{n:,}tasks" in cards, cards
        browser.execute_script("document.querySelector('[title=\"Zoom in\"]').click()")
        redrawn = _until(
            browser,
            "const one = document.querySelector('.timeline').dataset;"
            "return Number(one.from) > 0 && one.drawn",
        )
        page_mb = _most_mb_of_renderers()
    return {
        "drawn_ms": float(ready),
        "redrawn_ms": float(redrawn),
        "page_mb": page_mb,
    }


def _most_mb_of_renderers() -> float:
    """Return the most memory that a process had which draws pages of this browser."""
    import psutil

    pids = [
        one.pid
        for one in psutil.Process().children(recursive=True)
        if "--type=renderer" in one.cmdline()
    ]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    most = [text.partition("VmHWM:")[2].split()[0] for text in status]
    return max(map(int, most)) / 1024


def _until(browser: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(browser, LIMIT_S, 0.02)
    return waiting.until(lambda one: one.execute_script(script))
