"""Names of other packages that they do not promise to keep: all that the product uses stand in docs/dependencies.md.

A name counts as private if a part of it begins with an underscore, or if no public namespace of its package exports it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import inspect
import pathlib
import pkgutil
import types
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.docs import pages

PAGE = ROOT / "docs" / "dependencies.md"
FILES = [path for room in ("pipeline", "components", "data", "modules") for path in sorted((ROOT / room).rglob("*.py"))]
# Package, and the namespaces by which it shows what it promises to keep; with a star, those below it, too.
PUBLIC = {
    "apache_beam": ("apache_beam.*",),
    "google.cloud.aiplatform": ("google.cloud.aiplatform",),
    "kfp": ("kfp", "kfp.client", "kfp.pipeline_spec.pipeline_spec_pb2"),
    "ml_metadata": ("ml_metadata", "ml_metadata.proto.metadata_store_pb2"),
    "tensorflow_data_validation": ("tensorflow_data_validation",),
    "tensorflow_model_analysis": (
        "tensorflow_model_analysis",
        "tensorflow_model_analysis.metrics",
        "tensorflow_model_analysis.utils",
        "tensorflow_model_analysis.writers",
    ),
    "tensorflow_recommenders": ("tensorflow_recommenders", "tensorflow_recommenders.tasks"),
    "tensorflow_transform": ("tensorflow_transform", "tensorflow_transform.beam"),
    "tf_keras": ("tf_keras", "tf_keras.layers"),
    "tfx": ("tfx.v1.*",),
    "tfx_bsl": ("tfx_bsl.public.*",),
}
# Distributions whose names are not those of their packages.
DISTRIBUTIONS = {"google.cloud.aiplatform": "google-cloud-aiplatform"}


def package_of(name: str) -> str:
    """The package in `PUBLIC` that a full name belongs to; "" for none."""
    return next((package for package in PUBLIC if f"{name}.".startswith(f"{package}.")), "")


def resolve(name: str) -> object:
    """The module, or what a module or class holds, of that full name.

    Raises:
      AttributeError, ImportError: there is none.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            # A module that is there and lacks what it imports is another fault.
            if not name.startswith(error.name or "/"):
                raise
            continue
        for part in parts[end:]:
            found = member(found, part)
        return found
    raise ImportError(f"there is no {name}")


def member(owner: object, name: str) -> object:
    """What a module or class holds by that name; for what instances are given when they are made, the name itself."""
    try:
        return getattr(owner, name)
    except AttributeError:
        classes = inspect.getmro(owner) if inspect.isclass(owner) else ()
        if any(f"self.{name}" in inspect.getsource(each) for each in classes if each is not object):
            return name
        raise


@functools.cache
def namespaces(package: str) -> dict[str, types.ModuleType]:
    """The public modules of a package by name."""
    found = {}
    for name in PUBLIC[package]:
        module = importlib.import_module(name.removesuffix(".*"))
        found[module.__name__] = module
        if name == "apache_beam.*":
            continue
        if name.endswith("*"):
            for each in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
                if not each.name.rpartition(".")[2].endswith("_test") and "testing" not in each.name:
                    found[each.name] = importlib.import_module(each.name)
    return found


@functools.cache
def exported(package: str) -> set[int]:
    """Identities of the classes and functions that public namespaces show."""
    return {
        id(value)
        for module in namespaces(package).values()
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_")
    }


def is_private(name: str) -> bool:
    package = package_of(name)
    if any(part.startswith("_") and not part.startswith("__") for part in name.split(".")):
        return True
    parent = name.rpartition(".")[0]
    if package == "apache_beam":
        # All of it is public but for what says otherwise.
        return "internal" in name.split(".") or "internal use only" in (inspect.getdoc(resolve(parent)) or "").lower()
    return parent not in namespaces(package) and id(resolve(name)) not in exported(package)


def used(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """What a file takes of the packages: full name of each import, and of what is taken of an imported module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    names = {short: full for short, full in names.items() if package_of(full)}
    for full in names.values():
        if not isinstance(resolve(full), types.ModuleType):
            yield full, full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            full = names[node.value.id]
            if isinstance(resolve(full), types.ModuleType):
                yield full, f"{full}.{node.attr}"


def underscored() -> set[str]:
    """Attributes with a leading underscore that the product uses and does not define: those of other packages."""
    defined, asked = set(), set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Attribute):
                (defined if isinstance(node.ctx, ast.Store) else asked).add(node.attr)
    found = {name for name in asked - defined if name.startswith("_") and not name.startswith("__")}
    # Python's own: a method of every named tuple, a type that annotations name, and the end of a process at once.
    return found - {"_replace", "_Hash", "_exit"}


def overridden(path: pathlib.Path) -> Iterator[str]:
    """Private methods of a package's class that a class of the file replaces."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    methods = {
        owner: [node.name for node in body.body if isinstance(node, ast.FunctionDef) and node.name.startswith("_")]
        for owner, body in classes.items()
    }
    if not any(methods.values()):
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for owner, names in methods.items():
        bases = inspect.getmro(getattr(module, owner))[1:]
        for name in (name for name in names if not name.startswith("__")):
            base = next((base for base in bases if name in vars(base)), None)
            if base is not None and package_of(base.__module__):
                yield f"{base.__module__}.{base.__name__}.{name}"


@functools.cache
def private_names() -> dict[str, set[str]]:
    """Private names of the product, each with what is taken of it: of a module, its members."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        for taken_of, name in used(path):
            if is_private(name):
                found.setdefault(taken_of, set()).add(name)
        for name in overridden(path):
            found.setdefault(name, set()).add(name)
    return found


def listed() -> dict[str, str]:
    """The table of the page: name and reason."""
    rows = pages.table(pages.section(PAGE, "Private names"), "private name")
    return {name: reason for names, reason in rows for name in pages.codes(names)}


def test_the_table_holds_the_private_names_of_the_product() -> None:
    underscore = {name for name in listed() if name.rpartition(".")[2].startswith("_")}
    assert {name.rpartition(".")[2] for name in underscore} == underscored() | {
        name.rpartition(".")[2] for name in private_names() if name.rpartition(".")[2].startswith("_")
    }
    # A name that one lane's release exports and the other's does not may stand in the table of both.
    assert set(private_names()) <= set(listed())
    taken = {taken_of for path in FILES for taken_of, _ in used(path)}
    assert set(listed()) - underscore <= taken
    assert all(listed().values())


@pytest.mark.parametrize("name", sorted(listed()))
def test_each_private_name_is_still_there(name: str) -> None:
    missing = [each for each in (name, *sorted(private_names().get(name, ()))) if not is_there(each)]
    package = package_of(name)
    distribution = DISTRIBUTIONS.get(package, package.replace("_", "-"))
    assert not missing, f"{distribution} {importlib.metadata.version(distribution)} has lost {', '.join(missing)}"


def is_there(name: str) -> bool:
    try:
        resolve(name)
    except (AttributeError, ImportError):
        return False
    return True


def test_what_is_gone_is_noticed() -> None:
    assert not is_there("tfx.types.standard_artifacts.Melody")
    assert not is_there("tfx.nowhere.thing")
    assert is_there("tfx.types.standard_artifacts.Model")


def test_private_and_public_names_are_told_apart() -> None:
    assert not is_private("tensorflow_data_validation.StatsOptions")
    assert not is_private("tfx.types.standard_artifacts.Model")
    assert is_private("tfx.utils.io_utils.write_string_file")
    assert is_private("tf_keras.src.saving.legacy.saved_model.utils.keras_option_scope")
