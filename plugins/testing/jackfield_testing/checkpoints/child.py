"""What the checkpoint kit has other processes do.

A test starts ``python -m jackfield_testing.checkpoints.child`` with the name of a job
and its arguments, and gets JSON back. Nothing is asserted here: a job says what it saw,
and the test judges.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore

OpenStore: TypeAlias = "Callable[..., CheckpointStore]"
Answer: TypeAlias = dict[str, Any]

SPREAD: Final = 97
"""Values have so many lengths, so that records do not begin at round offsets."""


def key_of(number: int) -> bytes:
    """The memo key of a numbered record."""
    return blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def record_of(number: int, extra: int = 0) -> CheckpointRecord:
    """A record that anybody can make again, to compare it with what a store gives."""
    key = key_of(number)
    value = b"%d:" % number + key * (number % SPREAD // 16) + bytes(number % SPREAD)
    manifest = {"function": key[:8].hex(), "argument 'x'": f"{number:x}"}
    padding = b"p" * extra
    return CheckpointRecord(key, value + padding, f"app_{number % 7}", 1e9, manifest)


# -- Jobs


def write(open_store: OpenStore, start: int, count: int, batch: int) -> Answer:
    """Put records in batches, and see that each is there at once."""
    store = open_store()
    lost = []
    for first in range(start, start + count, batch):
        numbers = range(first, min(first + batch, start + count))
        store.put_many([record_of(n) for n in numbers])
        lost += [n for n in numbers if store.get(key_of(n)) != record_of(n)]
    store.close()
    return {"lost": lost}


def write_one(open_store: OpenStore, number: int, at: float) -> Answer:
    """Open the store at a given time, as other processes do, and put one record."""
    while time.time() < at:
        pass
    return write(open_store, number, 1, 1)


def kill(open_store: OpenStore, rounds: int, longest: float, seed: int) -> Answer:
    """Kill processes that write, at random instants; look for what they have put."""
    dice = random.Random(seed)
    acknowledged, lost, wrong = 0, [], []
    for number in range(rounds):
        done = _write_until_killed(open_store, number, dice.uniform(0, longest))
        acknowledged += len(done)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was not put to its end
            store = open_store()
            for one in range(number * 100_000, max(done, default=0) + 50):
                found = store.get(key_of(one))
                if found is None and one in done:
                    lost.append(one)
                elif found is not None and found != _padded(one):
                    wrong.append(one)
            store.close()
    return {"acknowledged": acknowledged, "lost": lost, "wrong": wrong}


def _write_until_killed(open_store: OpenStore, number: int, delay: float) -> set[int]:
    """Let a child put batches for a while; return the numbers that it has put."""
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        _put_and_tell(open_store, number * 100_000, send)
    os.close(send)
    with open(receive, "rb") as pipe:  # noqa: PTH123  (a descriptor, not a path)
        pipe.readline()  # it has begun
        # Every second child is killed after its first batch at the earliest. On a busy
        # machine all could be killed before, and then the test would show nothing.
        told = pipe.readline() if number % 2 else b""
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        told += pipe.read()
    os.waitpid(pid, 0)
    whole = told[: told.rfind(b"\n") + 1]
    return {n for line in whole.split() for n in range(*map(int, line.split(b"-")))}


def _put_and_tell(open_store: OpenStore, number: int, send: int) -> None:
    os.write(send, b"begun\n")
    store = open_store()
    size = 1
    while True:
        store.put_many(
            [record_of(n, extra=n % 3000) for n in range(number, number + size)]
        )
        os.write(send, b"%d-%d\n" % (number, number + size))
        number += size
        size = size % 40 + 3


def _padded(number: int) -> CheckpointRecord:
    return record_of(number, extra=number % 3000)


def fill(open_store: OpenStore, size: int, limit: int) -> Answer:
    """Put records until the store refuses; then see what is there."""
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = open_store()
    done, error = 0, None
    while error is None and done < 100_000:
        try:
            store.put_many([record_of(done, size), record_of(done + 1, size)])
            done += 2
        except Exception as problem:
            error = problem
    kept = sum(store.get(key_of(n)) == record_of(n, size) for n in range(done))
    with suppress(CheckpointError):
        store.close()
    store = open_store(read_only=True)
    found = sum(store.get(key_of(n)) == record_of(n, size) for n in range(done))
    store.close()
    return {**_told(error), "done": done, "kept": kept, "found": found}


def refuse(open_store: OpenStore, number: int) -> Answer:
    """Try to write where that cannot be, then to read there."""
    error: Exception | None = None
    try:
        store = open_store()
        store.put_many([record_of(number)])
        store.close()
    except Exception as problem:
        error = problem
    store = open_store(read_only=True)
    found = store.get(key_of(0)) == record_of(0)
    store.close()
    return {**_told(error), "found": found}


def fork(open_store: OpenStore) -> Answer:
    """Let a forked child use and close the store, then go on using it here."""
    store = open_store()
    store.put_many([record_of(0)])
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        error: Exception | None = None
        try:
            store.get(key_of(0))
        except Exception as problem:
            error = problem
        store.close()
        os.write(send, json.dumps(_told(error)).encode())
        sys.exit(0)  # with all that an ordinary end of the interpreter does
    os.close(send)
    with open(receive, "rb") as pipe:  # noqa: PTH123  (a descriptor, not a path)
        child = json.loads(pipe.read() or b'{"error": "no answer"}')
    os.waitpid(pid, 0)
    store.put_many([record_of(1)])
    kept = [store.get(key_of(n)) == record_of(n) for n in (0, 1)]
    store.close()
    return {"child": child, "kept": kept}


def forget(open_store: OpenStore) -> Answer:
    """Put a record, and leave the store open until the interpreter ends."""
    store = open_store()
    store.put_many([record_of(0)])
    sys.modules[__name__].__dict__["_forgotten"] = store  # so that it is ended late
    return {"found": store.get(key_of(0)) == record_of(0)}


def look_up(open_store: OpenStore, count: int) -> Answer:
    """Measure opening a store and looking records up, by the processor's time."""
    open_store(read_only=True).close()  # what is imported on first use
    before = _resident()
    begin = time.process_time()
    store = open_store()
    opened = time.process_time() - begin
    grown = _resident() - before
    dice = random.Random(0)
    numbers = [dice.randrange(count) for _ in range(5000)]
    begin = time.process_time()
    records = [store.get(key_of(n)) for n in numbers]
    each = (time.process_time() - begin) / len(numbers)
    right = sum(r == record_of(n) for r, n in zip(records, numbers, strict=True))
    store.close()
    wrong = len(numbers) - right
    return {"open_s": opened, "open_bytes": grown, "get_s": each, "wrong": wrong}


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _told(error: Exception | None) -> Answer:
    """Say what was raised, if anything, and whether it is what a store is to raise."""
    ours = isinstance(error, CheckpointError)
    return {"refused": ours, "error": None if error is None else repr(error)}


JOBS: Final[dict[str, Callable[..., Answer]]] = {
    job.__name__: job
    for job in (write, write_one, kill, fill, refuse, fork, forget, look_up)
}


def main() -> None:
    """Run ``FILE CLASS DIRECTORY JOB ARGUMENTS``: the last is a JSON object."""
    file, name, directory, job, arguments = sys.argv[1:]
    case = runpy.run_path(file)[name]()

    def open_store(**options: Any) -> CheckpointStore:
        store: CheckpointStore = case.make_store(Path(directory), **options)
        return store

    sys.stdout.write(json.dumps(JOBS[job](open_store, **json.loads(arguments))))


if __name__ == "__main__":
    main()
