"""The architecture as a check: imports point one way, and the models know no TFX."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A room may import itself and those to its right.
ORDER = (
    "pipeline",
    "pipeline.commands",
    "pipeline.experiments",
    "pipeline.cluster",
    "pipeline.local",
    "pipeline.serving",
    "pipeline.graph",
    "pipeline.engines",
    "pipeline.config",
    "components",
    "pipeline.report",
    "data",
    "modules",
)
# What every room may use.
SHARED = ("pipeline.environment", "pipeline.exit_codes")
FILES = [
    path for package in ("pipeline", "components", "data", "modules") for path in sorted((ROOT / package).rglob("*.py"))
]


def room_of(module: str) -> str:
    """The room that a module of ours lies in; "" for one of others."""
    return max((room for room in ORDER if f"{module}.".startswith(f"{room}.")), key=len, default="")


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported_names(path: pathlib.Path) -> set[str]:
    """What a file imports, at its top and within functions: modules, and modules that are named by their package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            members = {f"{base}.{alias.name}" for alias in node.names}
            names |= (members & MODULES.keys()) or {base}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    forbidden = (*ORDER[: ORDER.index(room_of(module))], "tests")
    wrong = {
        name
        for name in imported_names(MODULES[module])
        if name.startswith(".") or ((room_of(name) or name.split(".")[0]) in forbidden and name not in SHARED)
    }
    assert not wrong, f"{module} must not import {wrong}"


def test_no_imports_run_in_a_circle() -> None:
    imports = {module: imported_names(path) & MODULES.keys() for module, path in MODULES.items()}
    while leaves := {module for module, names in imports.items() if not names & imports.keys()}:
        imports = {module: names for module, names in imports.items() if module not in leaves}
    assert not imports, f"in a circle, or importing one: {sorted(imports)}"


@pytest.mark.parametrize("path", sorted((ROOT / "modules").glob("*.py")), ids=lambda path: path.name)
def test_only_the_trainer_knows_tfx(path: pathlib.Path) -> None:
    roots = {name.split(".")[0] for name in imported_names(path)}
    allowed = {"trainer.py": {"tfx", "tensorflow_transform"}}.get(path.name, {"tensorflow_transform"})
    if path.name.endswith("_model.py"):
        allowed = set()
    assert not (roots & {"tfx", "tfx_bsl", "apache_beam", "tensorflow_transform"}) - allowed


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline" / "report").glob("*.py")), ids=lambda path: path.name)
def test_reports_are_rendered_without_tfx_and_tensorflow(path: pathlib.Path) -> None:
    roots = {name.split(".")[0] for name in imported_names(path)}
    assert not roots & {"tfx", "ml_metadata", "apache_beam", "tensorflow"}


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from pipeline import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as done:\n    code = done.code\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'pandas', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "assert code == 0, code\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout
