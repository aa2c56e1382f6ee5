"""``jackfield memo``: look at stored results, and look after them.

Works on any store through its public contract, and unpickles nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield.keeping import shown_time
from jackfield_results.commands._explain import explain
from jackfield_results.commands._filters import (
    Filter,
    filters,
    shown_count,
    shown_size,
)
from jackfield_results.commands._migrate import migrate
from jackfield_results.commands._stores import (
    checkpoint_table,
    find,
    json_option,
    opened,
    store_argument,
    store_options,
    telling,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore

KEY_SHOWN: Final = 16
"""Hexadecimal digits of a key in a table: enough to find it again."""

PROBLEMS_SHOWN: Final = 20


@click.group()
def memo() -> None:
    """Look at stored results, and look after them. Nothing is unpickled.

    STORE is a URL such as sqlite:///results.db; without, it is the one that is
    configured, or the one that runs make where none is.
    """


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield memo``."""
    cli.add_command(memo)


memo.add_command(explain)
memo.add_command(migrate)


# -- Looking


@memo.command()
@store_argument
@filters
@click.option("--limit", type=click.IntRange(1), help="Print so many at most.")
@store_options
@json_option
def ls(
    store: str | None,
    wanted: Filter,
    limit: int | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    """List results: key, app, time and size."""
    with telling(), opened(checkpoint_table(store, options)) as results:
        entries = islice(wanted.choose(results), limit)
        if as_json:
            _print_json_list(map(_described, entries))
        else:
            _print_table(entries)


def _print_json_list(items: Iterable[dict[str, Any]]) -> None:
    """Print a list without holding it in memory."""
    before = "[\n"
    for item in items:
        click.echo(f"{before}  {json.dumps(item)}", nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def _print_table(entries: Iterable[CheckpointEntry]) -> None:
    count = size = 0
    for entry in entries:
        count += 1
        size += entry.size
        key = entry.key.hex()[:KEY_SHOWN]
        when, much = shown_time(entry.created), shown_size(entry.size)
        click.echo(f"{key}  {when}  {much:>9}  {printable(entry.app)}")
    click.echo(f"{shown_count(count)}, {shown_size(size)}")


def _described(entry: CheckpointEntry) -> dict[str, Any]:
    return {
        "key": entry.key.hex(),
        "app": entry.app,
        "created": entry.created,
        "size": entry.size,
        "manifest": dict(entry.manifest),
    }


@memo.command()
@click.argument("key", metavar="KEY")
@store_argument
@store_options
@json_option
def show(key: str, store: str | None, options: dict[str, Any], as_json: bool) -> None:
    """Tell all about the result whose key begins with KEY."""
    with telling():
        table = checkpoint_table(store, options)
        with opened(table) as results:
            record = find(results, key)
        facts = _facts(record) | _envelope_facts(record, table)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if not isinstance(value, dict):
            shown = shown_time(value) if name == "created" else printable(str(value))
            click.echo(f"{name + ':':<12} {shown}")
    for name in ("versions", "manifest"):
        for part, value in facts.get(name, {}).items():
            click.echo(f"{name + ':':<12} {printable(part)}: {printable(str(value))}")


def _facts(record: CheckpointRecord) -> dict[str, Any]:
    return {
        "key": record.key.hex(),
        "app": record.app,
        "created": record.created,
        "size": len(record.value),
        "manifest": dict(record.manifest),
    }


def _envelope_facts(record: CheckpointRecord, table: dict[str, Any]) -> dict[str, Any]:
    from jackfield_results.envelope import Miss, open_envelope, unpack
    from jackfield_results.signing import signing_key

    envelope = open_envelope(record.value)
    if isinstance(envelope, Miss):
        return {"state": str(envelope)}
    verdict = unpack(record.key, record.value, signing_key(table), "signed")
    state = str(verdict) if isinstance(verdict, Miss) else "signed with your key"
    return {**envelope.header, "signed": envelope.key_id.hex(), "state": state}


@memo.command()
@store_argument
@filters
@store_options
@json_option
def verify(
    store: str | None, wanted: Filter, options: dict[str, Any], as_json: bool
) -> None:
    """Read every result and check it; exit with 1 if one cannot be used."""
    with telling():
        table = checkpoint_table(store, options)
        with opened(table) as results:
            count, problems = _problems(results, wanted, table)
    _print_verdict(count, problems, as_json=as_json)
    if problems:
        raise click.exceptions.Exit(1)


def _problems(
    store: CheckpointStore, wanted: Filter, table: dict[str, Any]
) -> tuple[int, dict[str, str]]:
    """Read what is chosen; return how many, and each bad one's key with its problem."""
    from jackfield_results.envelope import Miss, unpack
    from jackfield_results.signing import signing_key, trust_of

    signer, trust = signing_key(table), trust_of(table)
    problems: dict[str, str] = {}
    count = 0
    for key in wanted.choose_keys(store):
        count += 1
        record = store.get(key)
        if record is None:
            problems[key.hex()] = "the stored result is damaged"
            continue
        verdict = unpack(key, record.value, signer, trust)
        if isinstance(verdict, Miss):
            problems[key.hex()] = str(verdict)
    return count, problems


def _print_verdict(count: int, problems: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"results": count, "problems": problems}, indent=2))
        return
    for name, problem in list(problems.items())[:PROBLEMS_SHOWN]:
        click.echo(f"{name[:KEY_SHOWN]}  {problem}")
    for problem, times in Counter(problems.values()).most_common():
        click.echo(f"{times} times: {problem}")
    click.echo(f"{shown_count(count)} checked, {len(problems)} of them cannot be used")


# -- Changing


@memo.command()
@store_argument
@filters
@click.option("--all", "everything", is_flag=True, help="Really all of them.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_options
def prune(
    store: str | None,
    wanted: Filter,
    everything: bool,
    dry_run: bool,
    yes: bool,
    options: dict[str, Any],
) -> None:
    """Delete the results that the filters choose."""
    if wanted.is_empty and not everything:
        raise click.UsageError("Say which results: by a filter, or by --all.")
    table = checkpoint_table(store, options)
    with telling(), opened(table, write=not dry_run) as results:
        chosen = [(entry.key, entry.size) for entry in wanted.choose(results)]
        size = shown_size(sum(size for _, size in chosen))
        much = f"{shown_count(len(chosen))}, {size}"
        if dry_run or not chosen:
            click.echo(f"{much} would be deleted")
            return
        if not yes:
            click.confirm(f"Delete {much}?", abort=True)
        results.delete([key for key, _ in chosen])
    click.echo(f"{much} deleted")


@memo.command()
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="This file instead of your own key.",
)
@click.option("--create", is_flag=True, help="Make it; one that exists stays.")
def key(key_file: Path | None, create: bool) -> None:
    """Tell where the key is that signs results, and which one it is."""
    from jackfield_results.signing import key_path, load_key, make_key

    with telling():
        path, chosen = key_path(key_file)
        if create:
            make_key(path)
        elif not chosen and not path.exists():
            click.echo(f"{path}: does not exist yet; it is made on first use")
            return
        click.echo(f"{path}: {load_key(key_file).id.hex()}")
