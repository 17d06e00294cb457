from __future__ import annotations

import importlib
import importlib.metadata
import pathlib
import re
import sys

import pytest

from pipeline.graph import fingerprint as fingerprints
from pipeline.graph.fingerprint import fingerprint
from tests.conftest import ROOT


@pytest.fixture
def package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A package of three modules: a imports b, c stands alone."""
    folder = tmp_path / "sample_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text("from sample_package import b\nfrom sample_package.b import value\n")
    (folder / "b.py").write_text("import json\nvalue = 1\n")
    (folder / "c.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fingerprints, "PACKAGES", ("sample_package",))
    importlib.invalidate_caches()
    yield folder
    for name in [each for each in sys.modules if each.split(".")[0] == "sample_package"]:
        del sys.modules[name]


def test_an_edit_shows_in_all_that_import_it_and_nowhere_else(package: pathlib.Path) -> None:
    before = fingerprint("sample_package.a"), fingerprint("sample_package.b"), fingerprint("sample_package.c")
    (package / "b.py").write_text("import json\nvalue = 2\n")
    after = fingerprint("sample_package.a"), fingerprint("sample_package.b"), fingerprint("sample_package.c")
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]


def test_it_is_the_same_for_the_same_sources(package: pathlib.Path) -> None:
    assert fingerprint("sample_package.a") == fingerprint("sample_package.a")
    assert fingerprint("sample_package.a", "sample_package.c") == fingerprint("sample_package.c", "sample_package.a")


def test_an_unknown_module_is_refused(package: pathlib.Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no source found"):
        fingerprint("sample_package.missing")


def test_training_code_reaches_the_model_and_its_columns() -> None:
    assert {"modules.trainer", "modules.dataset", "modules.features", "modules.serving"} <= fingerprints._closure(
        ["modules.trainer"]
    )
    assert not {name for name in fingerprints._closure(["modules.preprocessing"]) if name.startswith("pipeline")}


def test_what_is_started_by_name_counts(package: pathlib.Path) -> None:
    (package / "a.py").write_text('STARTS = ("sample_package.c",)\n')
    before = fingerprint("sample_package.a")
    (package / "c.py").write_text("value = 4\n")
    assert fingerprint("sample_package.a") != before


def test_files_that_are_read_count(package: pathlib.Path) -> None:
    (package / "b.py").write_text('READS = ("pages",)\n')
    (package / "pages").mkdir()
    (package / "pages" / "page.html").write_text("<p>one</p>")
    before = fingerprint("sample_package.a"), fingerprint("sample_package.c")
    (package / "pages" / "page.html").write_text("<p>two</p>")
    assert fingerprint("sample_package.a") != before[0]
    assert fingerprint("sample_package.c") == before[1]


def test_the_code_that_knows_these_names_lists_nothing_itself() -> None:
    assert fingerprints._files_read("pipeline.graph.fingerprint") == []


def test_a_report_counts_the_code_and_the_templates_that_make_it() -> None:
    closure = fingerprints._closure(["components.report_gen"])
    assert {"components.report_facts", "pipeline.report.plots", "modules.typical_lists"} <= closure
    read = {path.name for name in closure for path in fingerprints._files_read(name)}
    assert read == {path.name for path in (ROOT / "pipeline" / "report" / "templates").iterdir()}


def test_the_probe_counts_for_the_component_that_starts_it() -> None:
    closure = fingerprints._closure(["components.servable_validator"])
    assert {"components.probe_process", "pipeline.serving.servable_probe", "modules.side_tables"} <= closure


@pytest.mark.parametrize("distribution", ["tensorflow", "tfx", "tensorflow-transform"])
def test_another_release_counts(package: pathlib.Path, monkeypatch: pytest.MonkeyPatch, distribution: str) -> None:
    before = fingerprint("sample_package.c")
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0" if name == distribution else version(name))
    assert fingerprint("sample_package.c") != before


def test_what_the_code_starts_by_name_is_listed() -> None:
    """Who runs or imports by a name that it holds says so in `STARTS`, or is handed the name by the graph."""
    rooms = ("pipeline", "components", "modules", "data")
    files = {path.relative_to(ROOT): path.read_text("utf-8") for room in rooms for path in (ROOT / room).rglob("*.py")}
    by_name = {str(path) for path, text in files.items() if re.search(r"import_module\(|\bPopen\(|runpy", text)}
    assert by_name == {
        "components/probe_process.py",
        # The preprocessing function, which `create_pipeline` names to the fingerprint, too.
        "components/columnar_transform.py",
        # The module of a preset, which `create_pipeline` names to the fingerprint, too.
        "modules/presets.py",
        # No components.
        "pipeline/cli.py",
        "pipeline/cluster/kubeflow_task.py",
        "pipeline/commands/errors.py",
        "pipeline/engines/guard.py",
        "pipeline/engines/programs.py",
        "pipeline/experiments/peers.py",
        "pipeline/experiments/serving_process.py",
    }
    assert "STARTS = (" in files[pathlib.Path("components/probe_process.py")]
