"""Whatever tasks say is stored whole, harmless and without secrets."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

import jackfield as jf
from jackfield import TaskState, TransferEvent
from jackfield.events import (
    AttemptRecord,
    Batch,
    Failure,
    Place,
    TaskRecord,
    WorkerEvent,
)
from jackfield_monitoring.store import texts
from jackfield_monitoring.store.reader import Store
from jackfield_monitoring.store.writer import RunRow, Writer

RUN = RunRow(
    "a" * 32, "/runs/000", 1_000_000, 0, "host", "ada", 1, "3", "0", "[]", "/"
)  # fmt: skip

CANARY = "hunter2-canary"

HOSTILE = {
    "html": "<script>alert(1)</script>",
    "sql": "'; DROP TABLE task; --",
    "bidi": "abc\u202egpj.exe\u2066",
    "nul": "a\x00b",
    "surrogate": "half \ud83d a character",
    "ansi": "\x1b]0;title\x07\x1b[31mred\x1b[2J",
    "lines": "one\ntwo\r\nthree\u2028four",
    "long": "x" * 1_000_000,
    "longer": "\ud800\x1b" * 500_000,
    "long url": "https://" + "u" * 100_000 + ":" + "p" * 100_000,
    "emoji": "naïve 🦎 料理",
    "empty": "",
}


def batch_of(text: str) -> Batch:
    """Return a batch that has a text wherever there is a text."""
    failure = Failure(text, text, text)
    task = TaskRecord(
        0, text, text, text, text, TaskState.FAILED, 1, 1.0, 2.0, None, (), text,
        "off", None, text, text, text, failure,
    )  # fmt: skip
    attempt = AttemptRecord(
        0, 1, text, 1.0, 2.0, Place(text, text, 1, 1.0, 2.0), failure, None
    )
    transfer = TransferEvent(
        0, text, "in", "failed", 1, 0, None, 0.0, None, 0.0, 1.0, text, 0
    )  # fmt: skip
    return Batch(
        0.0, 2.0, tasks=[task], attempts=[attempt], transfers=[transfer],
        workers=[WorkerEvent(text, text, text, 1, False, text, 2.0)],
        app_edges={(text, text): 1},
    )  # fmt: skip


def texts_in(path: Path, batch: Batch) -> list[str]:
    """Write a batch; return each text that the reader gives back."""
    run = RUN._replace(dir=batch.tasks[0].call or "d")
    writer = Writer(path, run._replace(dir=texts.path(run.dir)))
    writer.write([batch])
    writer.end("failed", 1, [(1, 1, texts.clean(batch.tasks[0].call))])
    with Store(path) as store:
        page = store.task(0)
        assert page is not None
        values = [
            *page.task, *page.attempts[0], *page.transfers[0],
            *(getattr(page.failures[0], name) for name in
              ("kind", "message", "shape", "traceback")),
            *(value for worker in store.workers() for value in worker),
            *(value for app in store.apps() for value in app),
            *(value for executor in store.executors() for value in executor),
            *(gap.reason for gap in store.gaps()), store.run().dir,
        ]  # fmt: skip
    return [value for value in values if isinstance(value, str)]


def is_harmless(text: str) -> bool:
    return all(
        character in "\n\t"
        or (
            unicodedata.category(character) not in {"Cc", "Cs"}
            and unicodedata.bidirectional(character)
            not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        )
        for character in text
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_stored_harmless(name: str, tmp_path: Path) -> None:
    found = texts_in(tmp_path / "a.db", batch_of(HOSTILE[name]))

    assert all(map(is_harmless, found))
    assert max(map(len, found)) < 6 * texts.TRACEBACK_MOST
    assert (tmp_path / "a.db").stat().st_size < 1_000_000


def test_ordinary_texts_are_stored_as_they_are(tmp_path: Path) -> None:
    for number, name in enumerate(["html", "sql", "emoji"]):
        found = texts_in(tmp_path / f"{number}.db", batch_of(HOSTILE[name]))

        assert HOSTILE[name] in found


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.text(max_size=300))
def test_any_text_can_be_stored(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("history") / "a.db"

    assert all(map(is_harmless, texts_in(path, batch_of(text))))


SECRETS = {
    "a URL's password": f"https://ada:{CANARY}@host/x",
    "a URL's query": f"https://host/x?sig={CANARY}&a=1",
    "a named value": f"login(password={CANARY!r}, retries=3)",
    "a value in JSON": f'{{"token": "{CANARY}", "a": 1}}',
    "a header": f"curl -H 'Authorization: Bearer {CANARY}' x",
    "an option": f"--api-key={CANARY}",
    "a pair of name and value": f"[('password', '{CANARY}'), ('n', 1)]",
    "an option and its value": f"login --token {CANARY} me",
    "a login of curl": f"curl -u me:{CANARY} http://h",
    "a password of mysql": f"mysql -p{CANARY} lab",
    "a cookie": f"Cookie: sid={CANARY}",
    "one far behind": "x " * 90 + f"secret = {CANARY}",
    "one that is cut": "x" * 60_000 + f" https://ada:{CANARY}" + "y" * 60_000,
    "a long word that is cut": f"https://ada:{CANARY}" + "y" * 100_000,
    "one behind a cut": "x" * 65_500 + f" password='{CANARY}'" + "y" * 60_000,
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_not_in_the_file(name: str, tmp_path: Path) -> None:
    batch = batch_of(SECRETS[name])
    if "://" not in SECRETS[name]:  # a path may be called anything
        task = batch.tasks[0]._replace(stdout="/out", stderr="/err")
        batch = batch._replace(tasks=[task])

    found = texts_in(tmp_path / "a.db", batch)

    for text in found[:-1] if "://" not in SECRETS[name] else found:
        assert CANARY not in text


def test_a_long_traceback_keeps_both_ends() -> None:
    text = "first\n" + "middle\n" * 20_000 + "last"

    short = texts.traceback(text)

    assert short.startswith("first\n")
    assert short.endswith("middle\nlast")
    assert len(short) < texts.TRACEBACK_MOST + 10


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no file /data/7.csv", "no file /data/in/8.csv"),
        ("took 1.5 s", "took 1e-3 s"),
        ("<object at 0x7f00>", "<object at 0xdeadbeef>"),
        ("key 4f9a1c2b7d", "key 00ff11ee22"),
        ("row 3 of 10", "row 12 of 7"),
    ],
)
def test_what_varies_is_not_in_the_shape(one: str, other: str) -> None:
    assert texts.shape(one) == texts.shape(other)


def test_all_that_failures_of_one_shape_brought_about_is_one_shape() -> None:
    def told(path: tuple[str, ...], reason: str) -> str:
        return texts.shape(str(jf.DependencyError("9 (plot)", path, reason)))

    direct = told(("1 (read)",), "ValueError: row 3 [in read('a.csv')]")
    deep = told(
        ("2 (read)", "3 (sort)", "...", "8 (sum)"), "ValueError: row 4 [in read('b')]"
    )

    assert direct == deep
    assert direct != told(("1 (read)",), "ValueError: no row [in read('a.csv')]")
    assert direct != told(("1 (write)",), "ValueError: row 3 [in write('a.csv')]")


def test_other_words_are_another_shape() -> None:
    assert texts.shape("no such file") != texts.shape("no such user")
