"""What ``monitor.db`` holds, in which version; ``docs/monitoring-store.md`` tells it.

All times are whole microseconds on the monotonic clock of the script's machine. The one
row of ``run`` has the same moment on both clocks, so that ``run.wall + (t -
run.monotonic)`` is the time of day of ``t``, in microseconds since the epoch.
"""

from __future__ import annotations

from typing import Final

from jackfield import TaskState

FILE_NAME: Final = "monitor.db"

APPLICATION_ID: Final = 0x4A464D4E
"""Marks a database as a run's history, at offset 68 of its header."""

VERSION: Final = 1
"""The ``user_version``: raised when a column changes its meaning or goes."""

STATES: Final[tuple[TaskState, ...]] = tuple(TaskState)
"""A state is stored as its index here."""

INDEX_OF_STATE: Final[dict[TaskState, int]] = {
    state: index for index, state in enumerate(STATES)
}

FIRST_FINAL: Final = INDEX_OF_STATE[TaskState.SUCCEEDED]
"""Index of the first state in which a task has ended; all later ones are such, too."""

MEMO: Final = ("off", "miss", "hit")
"""A value of ``TaskRecord.memo`` is stored as its index here."""

BUCKETS_PER_DOUBLING: Final = 8
"""How finely durations are counted: a bucket's bounds are 9 % apart."""

SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
BEGIN;
CREATE TABLE run (
    uuid TEXT, dir TEXT, wall INTEGER, monotonic INTEGER, host TEXT, user TEXT,
    pid INTEGER, python TEXT, jackfield TEXT, argv TEXT, cwd TEXT,
    beat INTEGER, ended INTEGER, state TEXT
);
CREATE TABLE app (id INTEGER PRIMARY KEY, name TEXT, kind TEXT);
CREATE TABLE executor (id INTEGER PRIMARY KEY, label TEXT, workers INTEGER);
CREATE TABLE worker (
    id INTEGER PRIMARY KEY, executor INTEGER, name TEXT, host TEXT, pid INTEGER,
    began INTEGER, ended INTEGER, reason TEXT
);
CREATE TABLE task (
    id INTEGER PRIMARY KEY, app INTEGER, state INTEGER, attempts INTEGER,
    parent INTEGER, label TEXT, call TEXT, submitted INTEGER, ended INTEGER,
    executor INTEGER, memo INTEGER, key BLOB, refusal TEXT, stdout TEXT, stderr TEXT,
    error INTEGER, origin INTEGER
);
CREATE INDEX task_by_error ON task (error) WHERE error IS NOT NULL;
CREATE INDEX task_by_parent ON task (parent) WHERE parent IS NOT NULL;
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY, task INTEGER, n INTEGER, app INTEGER, executor INTEGER,
    worker INTEGER, launched INTEGER, began INTEGER, ended INTEGER, reported INTEGER,
    state INTEGER, error INTEGER, retry_in INTEGER, cpu INTEGER, memory INTEGER
);
CREATE UNIQUE INDEX attempt_by_task ON attempt (task, n);
CREATE TABLE rerun (
    task INTEGER, n INTEGER, executor INTEGER, reason TEXT, t INTEGER,
    PRIMARY KEY (task, n)
) WITHOUT ROWID;
CREATE TABLE edge (
    child INTEGER, parent INTEGER, PRIMARY KEY (child, parent)
) WITHOUT ROWID;
CREATE INDEX edge_by_parent ON edge (parent);
CREATE TABLE app_edge (
    parent INTEGER, child INTEGER, n INTEGER, PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE TABLE error (
    id INTEGER PRIMARY KEY, kind TEXT, message TEXT, shape TEXT, traceback TEXT,
    n INTEGER, attempts INTEGER, task INTEGER, first INTEGER, newest INTEGER
);
CREATE TABLE message (id INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE said (
    task INTEGER, n INTEGER, message INTEGER, PRIMARY KEY (task, n)
) WITHOUT ROWID;
CREATE TABLE tally (
    app INTEGER, state INTEGER, n INTEGER, busy INTEGER, PRIMARY KEY (app, state)
) WITHOUT ROWID;
CREATE TABLE spread (
    app INTEGER, state INTEGER, bucket INTEGER, n INTEGER,
    PRIMARY KEY (app, state, bucket)
) WITHOUT ROWID;
CREATE TABLE transfer (
    id INTEGER PRIMARY KEY, task INTEGER, url TEXT, way TEXT, state TEXT,
    attempts INTEGER, moved INTEGER, size INTEGER, began INTEGER, ended INTEGER,
    verified TEXT, error TEXT
);
CREATE INDEX transfer_by_task ON transfer (task);
CREATE TABLE sample (
    t INTEGER, executor INTEGER, workers INTEGER, unfinished INTEGER,
    PRIMARY KEY (t, executor)
) WITHOUT ROWID;
CREATE TABLE running (
    task INTEGER, n INTEGER, executor INTEGER, worker INTEGER, began INTEGER,
    seen INTEGER
);
CREATE TABLE gap (t INTEGER, lost INTEGER, reason TEXT);
COMMIT;
"""
