"""The command `movie-ranking`, up to the point where the packages of this project can be imported.

`pipeline`, `components`, `modules` and `data` are names that other projects have, too. Where one of theirs comes first
on Python's path, nothing within our packages can say so. Hence this module beside them, whose name nobody else has, and
which needs the standard library alone.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import sys

# Where this file is, and our packages with it.
HOME = os.path.dirname(os.path.realpath(__file__))
PACKAGES = ("pipeline", "components", "modules", "data")
# Those of `pipeline.exit_codes`, which may be another project's here; a test compares them.
BAD_INPUT, INTERRUPTED = 2, 130


def main() -> None:
    """Runs the command line and exits: with code 2 and one line if Python would import another project's packages."""
    if others := foreign_packages():
        path = os.environ.get("PYTHONPATH")
        remedy = f"unset PYTHONPATH, which is {path!r}, or start" if path else "start"
        print(
            f"movie-ranking: expected Python to find its packages in {HOME}; got {', '.join(others)}; {remedy} from a "
            "folder and an environment without these",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    # Workers that Beam starts would look in the current folder first. Python 3.10 does not know the variable.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        from pipeline import cli

        cli.main()
    except KeyboardInterrupt:
        # Before `cli` can say it, or after it has had its say.
        print("\ninterrupted; the same command resumes", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        # All is done. While it ends, Python would make a death by the signal of an interrupt.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def foreign_packages() -> list[str]:
    """What Python would import in place of packages of ours, such as "data in /home/me/data"; nothing is imported.

    A folder without an `__init__.py` counts: it is a package where nothing else on the path has its name, and comes
    before one of an editable installation.
    """
    places = {name: _place(spec) for name in PACKAGES if (spec := importlib.util.find_spec(name))}
    return [f"{name} in {place}" for name, place in places.items() if place != os.path.join(HOME, name)]


def _place(spec: importlib.machinery.ModuleSpec) -> str:
    """The folder of a package, or the file of a module."""
    place = os.path.realpath(spec.origin or next(iter(spec.submodule_search_locations or ()), spec.name))
    return os.path.dirname(place) if os.path.basename(place) == "__init__.py" else place
