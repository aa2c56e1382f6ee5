"""Take one measurement: a line of JSON. ``run.py`` starts this, each time anew.

usage: python one.py SYSTEM MODULE.FUNCTION N [OPTIONS AS JSON]

Modules are found in this directory, and what is written goes below ``BENCH_DIR``.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from typing import Any


def main() -> None:
    logging.disable(logging.CRITICAL)
    name, work, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    start = time.perf_counter()
    system = None if name == "-" else opened(name, options.pop("workers", 2))
    figures: dict[str, Any] = {"start_ms": (time.perf_counter() - start) * 1e3}
    if hasattr(system, "load_ms"):
        figures["load_ms"] = system.load_ms
    module, _, function = work.partition(".")
    run = getattr(importlib.import_module(module), function)
    figures |= run(system, n, **options)
    if system is not None:
        start = time.perf_counter()
        system.close()
        figures["stop_ms"] = (time.perf_counter() - start) * 1e3
    print(json.dumps(figures), flush=True)
    os._exit(0)  # what a peer leaves behind shall not keep the next one waiting


def opened(name: str, workers: int) -> Any:
    from peers import SYSTEMS

    return SYSTEMS[name](workers)


if __name__ == "__main__":
    main()
