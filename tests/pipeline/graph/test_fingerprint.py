from __future__ import annotations

import importlib
import pathlib
import sys

import pytest

from pipeline.graph import fingerprint as fingerprints
from pipeline.graph.fingerprint import fingerprint


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
    sys.modules.pop("sample_package", None)


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
