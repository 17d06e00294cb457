"""The architecture as a check: imports point one way, and the models know no TFX."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A package may import itself and those to its right.
ORDER = ("pipeline", "components", "data", "modules")
FILES = [path for package in ORDER for path in sorted((ROOT / package).glob("*.py"))]


def imported_names(path: pathlib.Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_point_one_way(path: pathlib.Path) -> None:
    forbidden = (*ORDER[: ORDER.index(path.parent.name)], "tests")
    wrong = {name for name in imported_names(path) if name.split(".")[0] in forbidden or name.startswith(".")}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {wrong}"


@pytest.mark.parametrize("path", sorted((ROOT / "modules").glob("*.py")), ids=lambda path: path.name)
def test_only_the_trainer_knows_tfx(path: pathlib.Path) -> None:
    roots = {name.split(".")[0] for name in imported_names(path)}
    allowed = {"trainer.py": {"tfx", "tensorflow_transform"}}.get(path.name, {"tensorflow_transform"})
    if path.name.endswith("_model.py"):
        allowed = set()
    assert not (roots & {"tfx", "tfx_bsl", "apache_beam", "tensorflow_transform"}) - allowed


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
