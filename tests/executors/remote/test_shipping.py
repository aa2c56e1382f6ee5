"""What is shipped of a project, and what becomes of it where it is unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from jackfield_executors.remote.shipping import Shipment, unpack

FILES = {
    "main.py": "import used\n",
    "used.py": "def late():\n    from lab import inner\n    import spread.of.parts\n",
    "lab/__init__.py": "",
    "lab/inner.py": "import json, pytest\nfrom . import beside\n",
    "lab/beside.py": "",
    "lab/data.json": "{}",
    "spread/of/parts.py": "",
    "spread/of/others.py": "",
    "unused.py": "import nothing\n",
    "test_nothing.py": "",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script with modules beside it, as if that script were running."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr("__main__.__file__", str(tmp_path / "main.py"), raising=False)
    return tmp_path


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sorted(archive.namelist())


def test_what_the_script_imports_is_shipped_and_no_package(project: Path) -> None:
    digest, data = Shipment("far", None).code()

    assert names(data) == [
        "lab/__init__.py", "lab/beside.py", "lab/inner.py", "spread/of/parts.py",
        "used.py",
    ]  # fmt: skip
    assert Shipment("far", None).code()[0] == digest
    assert project.is_dir()


def test_what_is_named_is_shipped_whole(project: Path) -> None:
    shipment = Shipment("far", ["lab", "unused.py"])
    digest, data = shipment.code()
    assert names(data) == [
        "lab/__init__.py", "lab/beside.py", "lab/data.json", "lab/inner.py",
        "unused.py",
    ]  # fmt: skip

    (project / "lab/more.txt").write_text("more")
    changed, data = shipment.code()
    assert changed != digest
    assert "lab/more.txt" in names(data)
    assert Shipment("far", []).code() == ("", b"")


def test_a_module_that_is_edited_or_imported_later_is_shipped_again(
    project: Path,
) -> None:
    shipment = Shipment("far", None)
    first, _ = shipment.code()
    assert shipment.code()[0] == first

    (project / "used.py").write_text("import unused, lab.inner\n")
    second, data = shipment.code()

    assert second != first
    assert names(data) == [
        "lab/__init__.py", "lab/beside.py", "lab/inner.py", "unused.py", "used.py"
    ]  # fmt: skip


def test_only_what_has_changed_is_written_anew(project: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shipment = Shipment("far", None)
    unpack(shipment.code()[1], there)
    kept = (there / "lab/inner.py").stat()
    (there / "lab/__pycache__").mkdir()
    (there / "lab/__pycache__/inner.pyc").write_bytes(b"compiled")

    (project / "used.py").write_text("import lab.inner\n")
    unpack(shipment.code()[1], there)

    assert (there / "lab/inner.py").stat() == kept
    assert (there / "used.py").read_text() == "import lab.inner\n"
    assert not (there / "spread/of/parts.py").exists()
    assert (there / "lab/__pycache__/inner.pyc").exists()


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "lab/../../evil.py"])
def test_nothing_is_unpacked_elsewhere(tmp_path: Path, name: str) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, "evil")

    with pytest.raises(ValueError, match="leads out of the directory"):
        unpack(sink.getvalue(), tmp_path / "there")

    assert not list(tmp_path.rglob("evil.py"))
