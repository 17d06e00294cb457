"""On what terms the releases that are known may be used."""

from __future__ import annotations

_GROUPLENS = (
    "made by GroupLens, University of Minnesota: free for research if you cite Harper and Konstan 2015 "
    "(doi:10.1145/2827872) and imply no endorsement by them; no redistribution and no commercial use without their "
    "permission"
)
# By how the name of a source begins.
_TERMS = {"MovieLens": _GROUPLENS}


def licence_of(source: str) -> str:
    """The terms of a source, such as "MovieLens 100K", in a sentence; "" where they are not known."""
    return next((terms for name, terms in _TERMS.items() if source.startswith(name)), "")
