"""Fingerprints of our own code and of what carries it out, so that TFX's cache notices an edit and an upgrade.

TFX hashes module files into a component's cache key, but not functions that are named by import path, nor versions.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

PACKAGES = ("components", "data", "modules", "pipeline")
# Another release of these may give another result.
DISTRIBUTIONS = ("tensorflow", "tfx", "tensorflow-transform")
# What a module calls the names of those that it starts, rather than imports.
_NAME_OF_STARTS = "STARTS"
# What it calls the folders beside it whose files it reads.
_NAME_OF_READS = "READS"


def fingerprint(*modules: str) -> str:
    """SHA-256, 16 hex digits, over sources of modules of this project, and over the releases of `DISTRIBUTIONS`.

    The modules are those given, and all of ours that they import, or start by name and so list in `STARTS`; with each
    count the files that it reads.

    Args:
      modules: import paths, such as "modules.trainer".
    """
    releases = [f"{name}=={importlib.metadata.version(name)}" for name in DISTRIBUTIONS]
    digest = hashlib.sha256("\0".join(releases).encode())
    for name in sorted(_closure(modules)):
        digest.update(name.encode() + b"\0" + _source(name) + b"\0")
        for path in _files_read(name):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
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
    imported = _scanned(_source(name)).imports
    ours = (each for each in imported if each.split(".")[0] in PACKAGES and "." in each)
    return {each for each in ours if _path(each) is not None}


def _files_read(name: str) -> list[pathlib.Path]:
    path = _existing_path(name)
    return [file for folder in _scanned(_source(name)).reads for file in sorted((path.parent / folder).iterdir())]


class _Scanned(NamedTuple):
    """What a source names.

    Attributes:
      imports: modules, and what may be modules.
      reads: folders.
    """

    imports: frozenset[str]
    reads: tuple[str, ...]


@functools.cache
def _scanned(source: bytes) -> _Scanned:
    imported: set[str] = set()
    reads: tuple[str, ...] = ()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Assign):
            targets = {ast.unparse(target) for target in node.targets}
            if _NAME_OF_STARTS in targets:
                imported.update(ast.literal_eval(node.value))
            elif _NAME_OF_READS in targets:
                reads = ast.literal_eval(node.value)
    return _Scanned(frozenset(imported), reads)


def _path(name: str) -> pathlib.Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # an attribute of a module, not a module
        return None
    return pathlib.Path(spec.origin) if spec and spec.origin else None


def _existing_path(name: str) -> pathlib.Path:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no source found for {name}; is movie-ranking installed in this environment?")
    return path


def _source(name: str) -> bytes:
    return _existing_path(name).read_bytes()
