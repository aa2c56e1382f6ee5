"""Time the checkpoint stores: group commits, opening, look-ups, listing; and signing.

usage: python stores.py [--records N] [--batch N] [--stores URL_SCHEME,...]

Opening and looking up happen in a new process, with whatever the disk's cache holds.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.abc import CheckpointRecord
from jackfield.plugins import PluginManager
from jackfield_results.envelope import load_value, pack
from jackfield_results.signing import SigningKey

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore

KEY = SigningKey(bytes(32))
LOOK_UPS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--stores", default="sqlite,pickle")
    parser.add_argument("--look-up", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look_up:
        print(json.dumps(look_up(options.look_up, options.records)))
        return
    sign()
    for scheme in options.stores.split(","):
        directory = tempfile.mkdtemp(dir=Path.cwd(), prefix="stores-")
        try:
            measure(f"{scheme}:///{directory}/store", options.records, options.batch)
        finally:
            shutil.rmtree(directory)


def key_of(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def _packed(value: object) -> bytes:
    return pack(key_of(0), pickle.dumps(value), KEY)


def open_store(url: str) -> CheckpointStore:
    return PluginManager().open_checkpoint(url, {})


def sign() -> None:
    for size in (10, 10_000, 1_000_000):
        value = os.urandom(size)
        packed = _packed(value)
        count = 5_000 if size < 100_000 else 50
        pack = timeit.timeit(partial(_packed, value), number=count)
        load = timeit.timeit(
            partial(load_value, key_of(0), packed, KEY, "signed"), number=count
        )
        print(
            f"signing {size:>9} bytes: pack {pack / count * 1e6:.1f} µs, load {load / count * 1e6:.1f} µs"
        )


def measure(url: str, count: int, batch: int) -> None:
    manifest = {"function": "ab" * 16, "argument 'x'": "cd" * 16}
    value = _packed("a small result")
    store = open_store(url)
    worst = spent = 0.0
    for first in range(0, count, batch):
        records = [
            CheckpointRecord(key_of(n), value, "app", 1e9, manifest)
            for n in range(first, first + batch)
        ]
        begin = time.perf_counter()
        store.put_many(records)
        took = time.perf_counter() - begin
        spent += took
        worst = max(worst, took)
    begin = time.perf_counter()
    store.close()
    closed = time.perf_counter() - begin
    scheme = url.partition(":")[0]
    print(
        f"{scheme}: {count:,} records in batches of {batch:,}: {count / spent:,.0f}/s, the slowest batch {worst * 1e3:.0f} ms, closing {closed * 1e3:.0f} ms"
    )
    done = subprocess.run(
        [sys.executable, __file__, "--records", str(count), "--look-up", url],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, figure in json.loads(done.stdout).items():
        print(f"{scheme}: {name}: {figure:.3g}")


def look_up(url: str, count: int) -> dict[str, float]:
    manager = PluginManager()
    manager.load("checkpoint", url.partition(":")[0])
    before = resident()
    begin = time.perf_counter()
    store = manager.open_checkpoint(url, {})
    figures = {
        "open, ms": (time.perf_counter() - begin) * 1e3,
        "open, MB": (resident() - before) / 1e6,
    }
    dice = random.Random(0)
    known = [key_of(dice.randrange(count)) for _ in range(LOOK_UPS)]
    for name, keys in (("hit, µs", known), ("miss, µs", [key[::-1] for key in known])):
        begin = time.perf_counter()
        found = sum(store.get(key) is not None for key in keys)
        figures[name] = (time.perf_counter() - begin) / LOOK_UPS * 1e6
        assert found in (0, LOOK_UPS)
    begin = time.perf_counter()
    assert sum(1 for _ in store.scan()) == count
    figures["scan, s"] = time.perf_counter() - begin
    store.close()
    return figures


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


if __name__ == "__main__":
    main()
