"""What each failed task and attempt has said itself, as parts of a ``SELECT``.

The table ``error`` has the message of the first one that failed so; others say it with
numbers and paths of their own. What is selected is what ``TaskPage.said`` has, which is
computed for one task at a time: a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jackfield_monitoring.store.reader import Store

OF_TASK: Final = (
    "LEFT JOIN error ON error.id = task.error "
    "LEFT JOIN said ON said.task = task.id AND said.n = 0 "
    "LEFT JOIN message ON message.id = said.message "
)
"""To be joined to ``task``."""

TASK_SAID: Final = """
CASE WHEN error.id IS NULL THEN NULL
    WHEN said.task IS NOT NULL THEN text
    WHEN error.attempts = 1 OR error.task = task.id THEN error.message
    WHEN task.state != 8 AND (SELECT each FROM tells) THEN error.message
END
"""
"""Those that were not run because another had failed (8) have one message for all."""

OF_ATTEMPT: Final = (
    "LEFT JOIN task ON task.id = attempt.task "
    "LEFT JOIN error ON error.id = attempt.error "
    "LEFT JOIN said ON said.task = attempt.task "
    "AND said.n = CASE WHEN retry_in IS NULL THEN 0 ELSE attempt.n END "
    "LEFT JOIN message ON message.id = said.message "
)
"""To be joined to ``attempt``."""

ATTEMPT_SAID: Final = """
CASE WHEN error.id IS NULL THEN NULL
    WHEN said.task IS NOT NULL THEN text
    WHEN error.attempts = 1 OR error.task = attempt.task THEN error.message
    WHEN (retry_in IS NOT NULL OR attempt.error = task.error)
        AND task.state != 8 AND (SELECT each FROM tells) THEN error.message
END
"""
"""One that only had to make a lost result again says nothing of its own."""


def before(store: Store) -> str:
    """Return what stands before the ``SELECT``: older histories lack two tables."""
    if store.tells_each:
        return "WITH tells AS (SELECT 1 AS each) "
    return (
        "WITH tells AS (SELECT 0 AS each), "
        "said AS (SELECT 0 AS task, 0 AS n, 0 AS message WHERE 0), "
        "message AS (SELECT 0 AS id, '' AS text WHERE 0) "
    )
