"""docs/dependencies.md says what is locked, what it is for, and how much of the project knows TFX."""

from __future__ import annotations

import ast
import importlib.metadata
import pathlib
import re
import sys

import pytest
from google.protobuf.internal import api_implementation
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.docs import pages

PAGE = ROOT / "docs" / "dependencies.md"
LANES = ("legacy", "current")
ROOMS = ("pipeline", "components", "data", "modules")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
# Modules that a distribution of another name holds.
MODULES = {
    "google-cloud-aiplatform": {"google.cloud.aiplatform", "google.cloud.aiplatform_v1"},
    "grpcio": {"grpc"},
    "kfp-pipeline-spec": {"kfp.pipeline_spec"},
    "mlflow-skinny": {"mlflow"},
    "protobuf": {"google.protobuf"},
    "pyyaml": {"yaml"},
    "scikit-surprise": {"surprise"},
    "vl-convert-python": {"vl_convert"},
}
# What the advisories call dangerous on bytes of others: functions that read, and the modules of Arrow that do.
PARQUET_FILES = ("parquet_table.py", "list_writer.py", "pushed_model.py")
READERS_OF_STRANGERS = {"load_model", "get_file", "read_feather", "read_parquet", "read_pickle"}
ARROW_READERS = {"ipc", "parquet", "feather"}
# Modules by which a file becomes a program.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "jsonpickle", "shelve", "marshal"}


def locked(lane: str) -> dict[str, str]:
    """Distribution and version of each line of a lock; the last one where a lock has two."""
    text = (ROOT / "requirements" / f"{lane}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))


def setup_arguments() -> dict[str, ast.expr]:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    call = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def name_of(requirement: ast.expr) -> str:
    """The distribution of a requirement in setup.py, whose marker may be a formatted value."""
    text = ast.unparse(requirement).removeprefix("f")
    return re.match(r"['\"]([A-Za-z0-9-]+)", text)[1].lower()  # type: ignore[index]


def direct() -> set[str]:
    return {name_of(each) for each in setup_arguments()["install_requires"].elts}  # type: ignore[attr-defined]


def extras() -> dict[str, set[str]]:
    value = ast.literal_eval(setup_arguments()["extras_require"])
    return {extra: {Requirement(each).name.lower() for each in needed} for extra, needed in value.items()}


def test_every_direct_dependency_has_its_purpose() -> None:
    rows = pages.table(pages.section(PAGE, "What each direct dependency is for"), "dependency")
    assert {row[0].lower() for row in rows} == direct()
    assert all(row[1] for row in rows)


def test_every_extra_has_its_purpose() -> None:
    listed: dict[str, set[str]] = {}
    for extra, names, purpose in pages.table(pages.section(PAGE, "What each direct dependency is for"), "extra"):
        assert purpose
        listed.setdefault(extra, set()).update(name.lower() for name in names.split(", "))
    assert listed == extras()


def imported(path: pathlib.Path) -> set[str]:
    """Full names of what a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_all_that_is_imported_is_named() -> None:
    own = {*ROOMS, "tests"}
    named = set().union(*(MODULES.get(name, {name.replace("-", "_")}) for name in direct().union(*extras().values())))
    for modules, _ in pages.table(pages.section(PAGE, "What each direct dependency is for"), "module"):
        named.update(modules.split(", "))
    names = set().union(*map(imported, FILES))
    roots = {name.partition(".")[0] for name in names} - own - set(sys.stdlib_module_names)
    assert {root for root in roots if root != "google"} <= named
    for name in (name for name in names if name.startswith("google.")):
        assert any(f"{name}.".startswith(f"{each}.") for each in named), name


@pytest.mark.parametrize("lane", LANES)
def test_versions_are_those_of_the_lock(lane: str) -> None:
    lock = locked(lane)
    rows = pages.table(pages.section(PAGE, "Advisories"), "package")
    assert {row[0]: row[1 + LANES.index(lane)] for row in rows} == {row[0]: lock[row[0]] for row in rows}
    row = next(row for row in pages.table(pages.section(PAGE, "Two lanes"), "lane") if row[0] == lane)
    assert row[2:5] == [lock["tfx"], lock["tensorflow"], lock["apache-beam"]]


def test_the_advisories_that_people_ask_about_are_answered() -> None:
    rows = pages.table(pages.section(PAGE, "Advisories"), "package")
    asked = {"CVE-2026-0994", "CVE-2023-47248", "CVE-2026-25087", "CVE-2025-1550", "CVE-2025-0649"}
    assert asked <= set(re.findall(r"CVE-\d+-\d+", " ".join(row[3] for row in rows)))
    assert all(row[5] for row in rows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_unpickled(path: pathlib.Path) -> None:
    """Folders of artifacts, of outputs and of caches may be ones that others can write to."""
    assert not {name.partition(".")[0] for name in imported(path)} & UNPICKLERS
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    # Which is NumPy's default, too.
    allowed = [word.value for call in calls for word in call.keywords if word.arg == "allow_pickle"]
    assert all(ast.unparse(value) == "False" for value in allowed)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_reader_of_the_advisories_is_used(path: pathlib.Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named |= {part for name in imported(path) for part in name.split(".")}
    if path.name in PARQUET_FILES:  # where the hole is closed first
        assert "pyarrow_hotfix" in named
        named -= {"parquet"}
    assert not named & (READERS_OF_STRANGERS | ARROW_READERS)


def test_protocol_buffers_are_parsed_in_c() -> None:
    assert api_implementation.Type() in ("cpp", "upb")


def test_beam_switches_the_hole_of_old_arrow_off() -> None:
    if tuple(map(int, importlib.metadata.version("pyarrow").split(".")[:2])) >= (14, 1):
        pytest.skip("this lane's pyarrow has no such hole")
    import apache_beam  # noqa: F401

    assert "pyarrow_hotfix" in sys.modules


def test_the_files_that_know_tfx_are_those_of_the_list() -> None:
    listed = {pages.codes(row[0])[0] for row in pages.table(pages.section(PAGE, "What leaving TFX would take"), "file")}
    know = {
        str(path.relative_to(ROOT))
        for path in FILES
        if {name.partition(".")[0] for name in imported(path)} & {"tfx", "ml_metadata"}
    }
    assert listed == know
