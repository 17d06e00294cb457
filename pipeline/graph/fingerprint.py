"""Fingerprints of our own code and of what carries it out, so that TFX's cache notices an edit and an upgrade.

TFX hashes module files into a component's cache key, but not functions that are named by import path, nor versions.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import pathlib
from collections.abc import Iterable

PACKAGES = ("components", "data", "modules", "pipeline")
# Another release of these may give another result.
DISTRIBUTIONS = ("tensorflow", "tfx", "tensorflow-transform")
# What a module calls the names of those that it starts, rather than imports.
STARTS = "STARTS"


def fingerprint(*modules: str) -> str:
    """SHA-256, 16 hex digits, over sources of modules of this project, and over the releases of `DISTRIBUTIONS`.

    The modules are those given, and all of ours that they import, or start by name and so list in `STARTS`.

    Args:
      modules: import paths, such as "modules.trainer".
    """
    releases = [f"{name}=={importlib.metadata.version(name)}" for name in DISTRIBUTIONS]
    digest = hashlib.sha256("\0".join(releases).encode())
    for name in sorted(_closure(modules)):
        digest.update(name.encode() + b"\0" + _source(name) + b"\0")
    return digest.hexdigest()[:16]


def _closure(modules: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imports(name))
    return found


def _imports(name: str) -> set[str]:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Assign) and any(ast.unparse(target) == STARTS for target in node.targets):
            imported.update(ast.literal_eval(node.value))
    ours = (each for each in imported if each.split(".")[0] in PACKAGES and "." in each)
    return {each for each in ours if _path(each) is not None}


def _path(name: str) -> pathlib.Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # an attribute of a module, not a module
        return None
    return pathlib.Path(spec.origin) if spec and spec.origin else None


def _source(name: str) -> bytes:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no source found for {name}; is movie-ranking installed in this environment?")
    return path.read_bytes()
