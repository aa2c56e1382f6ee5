"""``jackfield memo`` on stores of both kinds, through their public contract."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import jackfield as jf
from jackfield.abc import CheckpointRecord
from jackfield.plugins import PluginManager
from jackfield_cli import main
from jackfield_results.envelope import Value, load_value, pack
from jackfield_results.signing import SigningKey, load_key, make_key
from jackfield_serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

STORES = ["sqlite:///results.db", "pickle:///results"]
DAY = 86_400
THEIRS = SigningKey(b"t" * 32)


class Trap:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("trace",)


@pytest.fixture(autouse=True)
def in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    """A store with four results: of two apps, of four ages and sizes."""
    put(
        request.param,
        [
            record(n, [0] * n * 1000, app=f"app{n % 2}", age=n * 10 * DAY)
            for n in range(4)
        ],
    )
    return str(request.param)


def key(number: int) -> bytes:
    return bytes([number]) * 32


def record(
    number: int,
    value: object,
    app: str = "app",
    age: float = 0,
    signer: SigningKey | None = None,
) -> CheckpointRecord:
    data = pack(key(number), dumps(value), signer or load_key(), {"numpy": "2.1"})
    created = time.time() - age
    return CheckpointRecord(key(number), data, app, created, {"function": "ab12"})


def put(url: str, records: Sequence[CheckpointRecord]) -> None:
    store = PluginManager().open_checkpoint(url, {})
    store.put_many(records)
    store.close()


def held(url: str) -> set[int]:
    """The numbers of the results that a store has."""
    store = PluginManager().open_checkpoint(url, {"read_only": True})
    numbers = {found[0] for found in store.keys()}  # noqa: SIM118  (no dictionary)
    store.close()
    return numbers


def value(url: str, number: int) -> object:
    store = PluginManager().open_checkpoint(url, {"read_only": True})
    found = store.get(key(number))
    store.close()
    assert found is not None
    loaded = load_value(key(number), found.value, load_key(), "signed")
    assert isinstance(loaded, Value), loaded
    return loaded.value


def memo(*args: str, wanted: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["memo", *args], input=answer)
    assert result.exit_code == wanted, result.output
    return result


# -- ls and show


def test_results_are_listed_with_app_time_and_size(url: str) -> None:
    lines = memo("ls", url).output.splitlines()

    assert len(lines) == 5
    assert sorted(line.split()[0] for line in lines[:4]) == [
        key(n).hex()[:16] for n in range(4)
    ]
    assert all(
        re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d .*B  app", x) for x in lines[:4]
    )
    assert lines[4].startswith("4 results, ")


def test_a_listing_can_be_json(url: str) -> None:
    rows = json.loads(memo("ls", "--json", url).output)

    assert {row["key"] for row in rows} == {key(n).hex() for n in range(4)}
    assert {row["app"] for row in rows} == {"app0", "app1"}
    assert rows[0]["manifest"] == {"function": "ab12"}
    assert json.loads(memo("ls", "--json", "--app", "none", url).output) == []


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        ("--app app1", {1, 3}),
        ("--app app*", {0, 1, 2, 3}),
        ("--older-than 5d", {1, 2, 3}),
        ("--newer-than 2w", {0, 1}),
        ("--older-than 360h --newer-than 25d", {2}),
        ("--larger-than 1kB", {1, 2, 3}),
        ("--smaller-than 0.001m", {0}),
        ("--larger-than 2500 --app app1", {3}),
        ("--key 0202", {2}),
    ],
)
def test_filters_choose(url: str, filters: str, chosen: set[int]) -> None:
    rows = json.loads(memo("ls", "--json", url, *filters.split()).output)

    assert {bytes.fromhex(row["key"])[0] for row in rows} == chosen


def test_a_listing_can_be_limited(url: str) -> None:
    assert (
        memo("ls", "--limit", "2", url).output.splitlines()[-1].startswith("2 results")
    )


@pytest.mark.parametrize("wrong", ["--older-than=3y", "--larger-than=big"])
def test_a_filter_that_makes_no_sense_is_told(url: str, wrong: str) -> None:
    assert "such as" in memo("ls", wrong, url, wanted=2).output


def test_a_name_cannot_command_the_terminal() -> None:
    put(STORES[0], [record(1, 1, app="\x1b[2Jgone\n")])

    output = memo("ls", STORES[0]).output

    assert "\x1b" not in output
    assert len(output.splitlines()) == 2


def test_a_result_is_shown_by_the_beginning_of_its_key(url: str) -> None:
    output = memo("show", "0101", url).output

    assert key(1).hex() in output
    assert "app1" in output
    assert "signed with your key" in output
    assert "numpy: 2.1" in output
    assert "function: ab12" in output
    assert (
        json.loads(memo("show", "--json", "01", url).output)["serializer"] == "pickle"
    )


def test_a_key_must_be_known_and_clear(url: str) -> None:
    put(url, [CheckpointRecord(b"\x01" * 31 + b"\x02", b"no envelope")])

    assert "2 keys begin" in memo("show", "0101", url, wanted=1).output
    assert "no result" in memo("show", "ff", url, wanted=1).output
    assert "none that Jackfield" in memo("show", "01" * 31 + "02", url).output


# -- verify


def test_good_results_verify(url: str) -> None:
    assert "4 results checked, 0 of" in memo("verify", url).output


def test_every_problem_is_told_and_is_an_exit_code(url: str) -> None:
    put(url, [record(7, 1, signer=THEIRS), CheckpointRecord(key(8), b"no envelope")])

    output = memo("verify", url, wanted=1).output
    told = json.loads(memo("verify", "--json", url, wanted=1).output)

    assert "6 results checked, 2 of them cannot be used" in output
    assert THEIRS.id.hex() in told["problems"][key(7).hex()]
    assert set(told["problems"]) == {key(7).hex(), key(8).hex()}
    assert "1 result checked" in memo("verify", url, "--key", "00").output


def test_damage_is_told() -> None:
    put("pickle:///results", [record(n, "v" * 500) for n in range(3)])
    (path,) = Path("results").glob("*.log")
    path.write_bytes(path.read_bytes().replace(b"vvvv", b"vwvv", 1))

    result = memo("verify", "pickle:///results", wanted=1)

    assert "warning: " in result.stderr
    assert "1 of them cannot be used" in result.stdout


def test_nothing_is_unpickled(url: str) -> None:
    put(url, [record(9, Trap())])

    for command in (["ls"], ["show", "09"], ["verify"]):
        memo(*command, url)
    memo("migrate", url, "sqlite:///copy.db", "--sign")

    assert not Path("trace").exists()
    value(url, 9)
    assert Path("trace").exists()


# -- prune


def test_what_filters_choose_is_deleted(url: str) -> None:
    assert "3 results" in memo("prune", "--older-than", "5d", "--yes", url).output

    assert held(url) == {0}


def test_deleting_is_asked_for_first(url: str) -> None:
    assert (
        "Delete 2 results"
        in memo("prune", "--app=app1", url, wanted=1, answer="n").output
    )
    assert held(url) == {0, 1, 2, 3}
    memo("prune", "--app=app1", url, answer="y")

    assert held(url) == {0, 2}


def test_a_dry_run_deletes_nothing(url: str) -> None:
    output = memo("prune", "--all", "--dry-run", url).output

    assert "4 results" in output
    assert held(url) == {0, 1, 2, 3}


def test_everything_goes_only_if_that_is_said(url: str) -> None:
    assert "--all" in memo("prune", "--yes", url, wanted=2).output
    memo("prune", "--all", "--yes", url)

    assert held(url) == set()


# -- migrate


@pytest.mark.parametrize("target", ["sqlite:///new.db", "pickle:///new"])
def test_results_travel_from_store_to_store(url: str, target: str) -> None:
    assert "4 results put" in memo("migrate", url, target).output

    assert value(target, 3) == [0] * 3000
    assert json.loads(memo("ls", "--json", target, "--key", "03").output) == json.loads(
        memo("ls", "--json", url, "--key", "03").output
    )


def test_what_filters_choose_travels(url: str) -> None:
    memo("migrate", url, "sqlite:///new.db", "--app", "app1")

    assert held("sqlite:///new.db") == {1, 3}


def test_foreign_results_can_be_vouched_for() -> None:
    put("sqlite:///theirs.db", [record(1, "result", signer=THEIRS)])
    put("sqlite:///theirs.db", [CheckpointRecord(key(2), b"no envelope")])

    memo("migrate", "sqlite:///theirs.db", "sqlite:///as-it-is.db")
    signed = memo("migrate", "--sign", "sqlite:///theirs.db", "pickle:///mine")

    memo("verify", "sqlite:///as-it-is.db", wanted=1)
    assert value("pickle:///mine", 1) == "result"
    assert "1 result put, 1 left out" in signed.output


# -- key


def test_the_key_is_told_and_not_made_unasked() -> None:
    assert "does not exist yet" in memo("key").output
    assert not Path("config").exists()
    output = memo("key", "--create").output

    assert load_key().id.hex() in output
    assert memo("key").output == output


def test_a_shared_key_can_be_made_and_used() -> None:
    assert "memo key --create" in memo("key", "--key-file", "team.key", wanted=1).output
    memo("key", "--key-file", "team.key", "--create")
    team = load_key("team.key")
    put(STORES[0], [record(1, 1, signer=team)])

    memo("verify", STORES[0], wanted=1)
    memo("verify", STORES[0], "-o", "key_file=team.key")


# -- which store


def test_without_a_name_it_is_the_configured_store(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(Path("team.key"))
    Path("team.toml").write_text(
        f"[checkpoint]\nstore = {url!r}\nkey_file = 'team.key'\n"
    )
    monkeypatch.setenv("JACKFIELD_CONFIG", "team.toml")

    assert "4 results" in memo("ls").output
    assert "4 of them cannot be used" in memo("verify", wanted=1).output


def test_earlier_stores_that_are_configured_are_listed_too(url: str) -> None:
    put("sqlite:///new.db", [record(8, 1)])
    Path("jackfield.toml").write_text(
        f"[checkpoint]\nstore = 'sqlite:///new.db'\nread = [{url!r}]\n"
    )

    assert "5 results" in memo("ls").output


@pytest.mark.parametrize("run_dir", ["runs", "elsewhere"])
def test_where_no_store_is_configured_it_is_the_one_that_runs_make(
    monkeypatch: pytest.MonkeyPatch, run_dir: str
) -> None:
    monkeypatch.setenv("JACKFIELD_RUN_DIR", run_dir)
    with jf.load():
        jf.python_app(cache=True)(half)(4).result(60)

    assert "1 result" in memo("ls").output
    memo("prune", "--app", "half", "--yes")
    assert "0 results" in memo("ls").output


def half(number: int) -> float:
    return number / 2


@pytest.mark.parametrize(
    ("args", "told", "code"),
    [
        (["ls"], "No store is configured, and no run has made /", 2),
        (["ls", "sqlite:///none.db"], "none.db': it does not exist", 1),
        (["ls", "sqlit:///x.db"], "did you mean 'sqlite'", 1),
        (["ls", "sqlite:///x.db", "-o", "sync"], "NAME=VALUE", 2),
        (["ls", "sqlite:///x.db", "-o", "snyc=power"], "did you mean 'sync'", 1),
        (["migrate", "sqlite:///none.db", "pickle:///new"], "it does not exist", 1),
        (["export", "file", "sqlite:///none.db"], "No such command 'export'", 2),
    ],
)
def test_mistakes_are_told_in_a_sentence(args: list[str], told: str, code: int) -> None:
    assert told in memo(*args, wanted=code).output
    assert [path.name for path in Path().iterdir() if path.name != "config"] == []


# -- explain

OLD = {"function m.f (m.py:1)": "1", "global m.RATE (m.py:9)": "1", "argument x": "1"}


@pytest.fixture(params=STORES)
def calls(request: pytest.FixtureRequest) -> str:
    """A store with four calls of one app, put one after another."""
    edited = {"function m.f (m.py:4)": "2", "global m.RATE (m.py:9)": "1"}
    manifests = [OLD, OLD | {"argument x": "2"}, edited | {"argument x": "2"}, OLD]
    records = [
        record(n, n, app="fit", age=100 - n)._replace(manifest=manifest)
        for n, manifest in enumerate(manifests)
    ]
    put(request.param, [*records, record(7, 7, app="other", age=200)])
    return str(request.param)


def test_a_stored_call_is_explained(calls: str) -> None:
    lines = memo("explain", "0202", calls).output.splitlines()

    assert lines[0] == f"fit: miss, key {key(2).hex()}"
    assert lines[1].startswith(f"nearest stored call: {key(1).hex()}, 20")
    assert lines[1].endswith(calls)
    assert lines[2:] == ["  function m.f (m.py:4) has changed"]
    assert memo("explain", "0101", calls).output.splitlines()[2:] == [
        "  argument x has changed"
    ]


def test_the_first_call_has_nothing_to_be_compared_with(calls: str) -> None:
    assert "no earlier call of this app" in memo("explain", "00", calls).output
    assert "no earlier call of this app" in memo("explain", "07", calls).output


def test_a_call_of_which_nothing_differs_is_explained_all_the_same(calls: str) -> None:
    assert "nothing that is noted has changed" in memo("explain", "03", calls).output


def test_the_latest_call_of_an_app_is_explained(calls: str) -> None:
    for args in (("--app", "fit", calls), (calls, "--app", "fit")):
        assert f"key {key(3).hex()}" in memo("explain", *args).output


def test_an_explanation_can_be_json(calls: str) -> None:
    told = json.loads(memo("explain", "02", "--json", calls).output)

    assert told["app"] == "fit"
    assert told["status"] == "miss"
    assert told["reasons"] == ["function m.f (m.py:4) has changed"]
    assert told["nearest"] == key(1).hex()
    assert told["store"] == calls


@pytest.mark.parametrize(
    ("args", "told", "code"),
    [
        (["020203"], "did you mean '0202020202020202'", 1),
        (["ff"], "`jackfield memo ls` lists them", 1),
        (["--app", "fitt"], "no call of 'fitt' is stored; did you mean 'fit'?", 1),
        (["02", "--app", "fit"], "Name a key, or an app", 2),
    ],
)
def test_what_cannot_be_explained_is_told(
    calls: str, args: list[str], told: str, code: int
) -> None:
    assert told in memo("explain", *args, calls, wanted=code).output


def test_what_is_to_be_explained_must_be_named() -> None:
    assert "Name a key, or an app" in memo("explain", wanted=2).output


def test_an_explanation_cannot_command_the_terminal() -> None:
    evil = {"argument x": "1", "argument \x1b[2J": "2"}
    records = [
        record(n, n, age=9 - n)._replace(manifest=manifest)
        for n, manifest in enumerate([OLD, evil])
    ]
    put(STORES[0], records)

    assert "\x1b" not in memo("explain", "01", STORES[0]).output
