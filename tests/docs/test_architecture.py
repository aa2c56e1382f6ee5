"""The tour of the code names what is there, and leaves no room and no hook out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jackfield import hookspecs

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "ARCHITECTURE.md"
PATHS = re.compile(
    r"`([\w./-]+(?:\.(?:py|md|toml|txt|js)|/))`|^([\w./-]+/) {2}", re.MULTILINE
)
LEFT_OUT = {".git", "build", "dist"}


@pytest.fixture(scope="module")
def there() -> str:
    """All files and directories, one a line, with a slash before each."""
    found: list[str] = []
    for top in ROOT.iterdir():
        if top.name in LEFT_OUT or top.name.startswith(".venv"):
            continue
        for path in (top, *(top.rglob("*") if top.is_dir() else ())):
            name = path.relative_to(ROOT).as_posix()
            found.append(f"/{name}/" if path.is_dir() else f"/{name}")
    return "\n".join([*found, ""])


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_that_is_named_exists(document: str, there: str) -> None:
    named = {one or two for one, two in PATHS.findall((ROOT / document).read_text())}
    made = {"build/site/", "dist/"}  # by make

    missing = [one for one in named - made if f"/{one}\n" not in there]

    assert len(named) > 5
    assert not missing


def test_every_room_and_module_of_the_kernel_has_its_floor() -> None:
    table = TOUR.read_text().partition("| floor |")[2].partition("\n\n")[0]
    kernel = ROOT / "kernel/jackfield"
    names = {
        f"{one.name}/" if one.is_dir() else one.name
        for one in kernel.iterdir()
        if one.suffix == ".py" or (one / "__init__.py").is_file()
    }

    assert {one for one in names if f"`{one}`" not in table} == set()


def test_every_hook_is_of_one_of_the_sorts() -> None:
    text = TOUR.read_text().partition("There are four sorts of hooks")[2]
    named = set(re.findall(r"`(\w+)`", text.partition("An executor takes batches")[0]))
    hooks = {
        name.removeprefix("jackfield_")
        for name in vars(hookspecs)
        if name.startswith("jackfield_")
    }

    assert named == hooks
