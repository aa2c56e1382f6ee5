"""The provider of the document is a plugin, and passes the kit as the document says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jackfield as jf
from jackfield_testing import StagingConformance, StagingSite
from jackfield_testing.servers import HostileHTTPServer

TEXT = (Path(__file__).parents[2] / "docs/writing-a-staging-provider.md").read_text()
SCRIPT, MODULE, TESTS = re.findall(
    r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE
)
[ENTRY_POINT] = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
NAME = "jackfield_lab"


def names_of(source: str) -> dict[str, Any]:
    example = ModuleType("example")
    exec(compile(source, "docs/writing-a-staging-provider.md", "exec"), vars(example))
    return vars(example)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The document's package, as pip would have installed it."""
    place = tmp_path_factory.mktemp("site")
    (place / f"{NAME}.py").write_text(MODULE)
    info = place / f"{NAME}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jackfield-lab\n")
    points = ENTRY_POINT.replace('[project.entry-points."jackfield.staging"]', "")
    points = f"[jackfield.staging]\n{points}".replace('"', "")
    (info / "entry_points.txt").write_text(points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        patch.setenv("PYTHONPATH", str(place), prepend=":")
        yield import_module(NAME)
    del sys.modules[NAME]


@pytest.mark.usefixtures("installed")
class TestLab(StagingConformance):
    lists = False

    @pytest.fixture
    def site(self) -> Iterator[StagingSite]:
        with HostileHTTPServer(
            authorization="Bearer open-sesame", protected=("GET", "HEAD", "PUT")
        ) as server:
            yield names_of(TESTS)["LabSite"](server)


def test_the_documents_class_is_the_one_that_is_tested() -> None:
    told = names_of(TESTS)["TestLab"]

    assert issubclass(told, StagingConformance)
    assert {name for name in vars(told) if name[0] != "_"} == {"lists", "site"}
    assert told.lists is TestLab.lists


def test_the_ten_lines_bring_a_file(tmp_path: Path) -> None:
    names = names_of(SCRIPT)
    with HostileHTTPServer({"/run7/a.txt": b"one\ntwo\n"}) as server:
        url = server.url("/run7/a.txt").replace("http:", "lab:")
        with jf.load({"run_dir": str(tmp_path)}, plugins=[names["Lab"]()]):
            line = names["first_line"](jf.File(url)).result(60)

    assert line == "one\n"


def test_the_options_of_the_document_reach_the_server(
    installed: ModuleType, tmp_path: Path
) -> None:
    assert installed.LabOptions().tier == "disk"
    with (
        HostileHTTPServer({"/x": b"1"}) as server,
        jf.load(
            {"run_dir": str(tmp_path)}, staging={"lab": {"tear": "tape"}}
        ) as kernel,
    ):
        file = jf.File(server.url("/x").replace("http:", "lab:"))
        error = kernel.submit(str, file).exception(30)

    assert isinstance(error, jf.ConfigurationError)
    assert "staging.lab.tear is no option; did you mean 'tier'?" in str(error)


@pytest.mark.parametrize(
    "name", ["RemoteNotFoundError", "RemoteForbiddenError", "RemoteChangedError"]
)
def test_every_error_of_providers_is_in_the_table(name: str) -> None:
    assert issubclass(getattr(jf.errors, name), jf.TransferError)
    assert f"\n| `{name}` |" in TEXT
