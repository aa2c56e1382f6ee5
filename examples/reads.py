"""A pipeline of commands over S3, as in bioinformatics: reads in, one table out.

    python examples/reads.py ENDPOINT BUCKET

Each sample's reads are staged in from S3 once, for all commands that want them, and the
table is staged out. The tools are those of every Unix, so that nothing has to be
installed; real ones would stand in their place. Needs `pip install 'jackfield[s3]'`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jackfield as jf


@jf.bash_app
def trim(reads: jf.File, outputs: list[jf.File]) -> str:
    """Cut the first and the last base off each read."""
    return f"set -o pipefail; sed 's/^.//; s/.$//' {reads} > {outputs[0]}"


@jf.bash_app
def count_kmers(reads: jf.File, outputs: list[jf.File]) -> str:
    """Count words of three bases."""
    return (
        f"set -o pipefail; fold -w 3 {reads} | grep -E '^[ACGT]{{3}}$' "
        f"| sort | uniq -c | sort -k1,1nr -k2 > {outputs[0]}"
    )


@jf.bash_app
def measure(reads: jf.File, outputs: list[jf.File]) -> str:
    """Count reads and bases."""
    return f"awk '{{ n += length($0) }} END {{ print NR, n }}' {reads} > {outputs[0]}"


@jf.bash_app
def merge(
    names: list[str],
    tables: list[jf.File],
    sizes: list[jf.File],
    outputs: list[jf.File],
) -> str:
    """Write a line for each sample: its name, reads, bases, most frequent word."""
    lines = [
        f"echo \"{name} $(cat {size}) $(head -1 {table} | awk '{{ print $2 }}')\""
        for name, table, size in zip(names, tables, sizes, strict=True)
    ]
    return f"({'; '.join(lines)}) > {outputs[0]}"


def main(directory: Path, endpoint: str, bucket: str, names: list[str]) -> Any:
    """Run the pipeline on samples of a bucket; return the run's directory."""
    config = {
        "run_dir": directory / "runs",
        "retries": 2,
        "staging": {"s3": {"endpoint_url": endpoint}},
        "monitors": {"history": {"plugin": "sqlite"}},
    }
    with jf.load(config) as kernel:
        tables, sizes = [], []
        for name in names:
            reads = jf.File(f"s3://{bucket}/{name}.txt")
            trimmed = trim(reads, outputs=[jf.File(directory / f"{name}.trimmed")])
            words = directory / f"{name}.kmers"
            tables.append(
                count_kmers(trimmed.outputs[0], outputs=[jf.File(words)]).outputs[0]
            )
            size = directory / f"{name}.size"
            sizes.append(measure(reads, outputs=[jf.File(size)]).outputs[0])
        table = jf.File(f"s3://{bucket}/table.txt")
        merge(names, tables, sizes, outputs=[table]).result()
    print(f"{len(names)} samples: s3://{bucket}/table.txt")
    return kernel.run_dir


if __name__ == "__main__":
    main(Path(), sys.argv[1], sys.argv[2], sys.argv[3:])
