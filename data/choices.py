"""What can be had of ratings in more than one way, as their owner chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Repeated = Literal["mean", "latest", "sum"]
Transform = Literal["log", "rank", "binary"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """How to read ratings, and what to make of them.

    Attributes:
      columns: for ratings of one's own: their name of each of our columns that they name otherwise, or "#4" for the
        fourth of theirs.
      drop: columns of ours to leave out.
      separator: what stands between fields; None finds out.
      encoding: what the text is in; None finds out.
      header: whether the first row names the columns; None refuses one that looks like data.
      quotes: whether fields may be quoted, as RFC 4180 says; otherwise a quote is text.
      escape: the character that stands before a quote that means nothing but itself; empty where there is none.
      member: the file of an archive to read; None where there is no choice.
      strict: refuse rows with an optional value that cannot be read, rather than leave the value out.
      max_rejected: how many bad rows, of all files together, are put up with.
      scale: lowest and highest possible rating; None takes the release's, or what the ratings hold.
      split: one of data.splits.PUBLISHED_SPLITS, or None for all ratings in one.
      keep_items_apart: items that share a title stay apart, by their ids behind the title.
      repeated: what becomes of ratings of one user and title: their mean, the latest, their sum; None is the mean of
        ratings and the sum of counts.
      drop_pairs_in_both: drop pairs of user and title from training that are in the test or evaluation rows, too.
      implicit: the numbers are counts, such as of plays, not ratings.
      transform: what is made of counts.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quotes: bool = True
    escape: str = ""
    member: str | None = None
    strict: bool = False
    max_rejected: int = 0
    scale: tuple[float, float] | None = None
    split: str | None = None
    keep_items_apart: bool = False
    repeated: Repeated | None = None
    drop_pairs_in_both: bool = False
    implicit: bool = False
    transform: Transform = "binary"
