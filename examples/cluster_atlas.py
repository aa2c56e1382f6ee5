"""Map a Python library on a cluster: the atlas of ``stdlib_atlas.py``, on Slurm.

    python examples/cluster_atlas.py                   # Slurm if it is installed
    python examples/cluster_atlas.py --cluster local   # workers of Dask on this machine
    python examples/cluster_atlas.py some/sources --output map

The apps and the workflow are those of ``stdlib_atlas.py``; only the configuration is
another one. Where Slurm is installed, a Slurm of one node is started, jobs are
submitted to it as they are needed, and both are gone at the end. On a cluster that is
there, ``executors`` below is all that you write, without ``shared_temp_directory``,
``interface`` and ``python``, and with your queue and account.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import one_node_slurm
from stdlib_atlas import all_modules, find_sources, make_output, map_library

import jackfield as jf


def on_slurm(keys: Path) -> dict[str, Any]:
    """A job of two cores, when there is something to do."""
    return {
        "plugin": "dask",
        "cluster": "slurm",
        "least": 0,
        "most": 1,
        "cluster_options": {
            "cores": 2,
            "processes": 1,
            "memory": "500 MB",
            "walltime": "00:10:00",
            "interface": "lo",
            "python": sys.executable,
            "scheduler_options": {"dashboard_address": ":0"},
            "shared_temp_directory": str(keys),
        },
    }


def on_dask() -> dict[str, Any]:
    """Workers of a Dask cluster on this machine, at most two."""
    return {"plugin": "dask", "cluster": "local", "least": 0, "most": 2}


def main() -> None:
    options = read_options()
    directory = Path(options.directory or sysconfig.get_path("stdlib")).resolve()
    output = Path(options.output).resolve()
    sources, left_out = find_sources(directory)
    make_output(output)

    with ExitStack() as ending:
        if options.cluster == "slurm":
            try:
                nodes = on_slurm(ending.enter_context(one_node_slurm.started()))
            except TimeoutError as error:
                sys.exit(f"cluster_atlas: {error}")
        else:
            nodes = on_dask()
        executors = {"cpu": nodes, "io": {"plugin": "threads", "workers": 2}}
        began = time.perf_counter()
        try:
            with jf.load(run_dir=output / "runs", executors=executors) as kernel:
                print(f"Mapping {len(sources):,} files on {options.cluster}")
                title = f"The Python sources in {directory.name}"
                files, packages = map_library(
                    title, directory, sources, left_out, output
                )
                report, picture = [file.result() for file in files]
                maps = {name: package.result() for name, package in packages.items()}
        except jf.JackfieldError as error:
            sys.exit(f"cluster_atlas: {error}")
    workers = Counter(module.worker for module in all_modules(maps))
    tasks = sum(kernel.summary().counts.values())
    print(f"{tasks:,} tasks ended in {time.perf_counter() - began:.1f} s, ", end="")
    print(f"and files were parsed by {len(workers)} processes of the cluster")
    print(f"Report:  {report}")
    print(f"Picture: {picture}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Map a Python library on a cluster.")
    parser.add_argument(
        "directory",
        nargs="?",
        help="folder of .py files (default: the standard library of this Python)",
    )
    parser.add_argument(
        "--output",
        default="atlas",
        help="folder for report and picture (default: %(default)s)",
    )
    why_not = one_node_slurm.missing()
    parser.add_argument(
        "--cluster",
        choices=["slurm", "local"],
        default="local" if why_not else "slurm",
        help="where tasks run (default here: %(default)s)",
    )
    options = parser.parse_args()
    if options.cluster == "slurm" and why_not:
        parser.error(f"no Slurm can be started here: {why_not}")
    return options


if __name__ == "__main__":
    main()
