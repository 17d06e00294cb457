"""Random tables in random forms, whole or damaged: read as Python's strict `csv` reads them, or refused in words.

    python -m tests.data.test_fuzz --minutes 30

goes on for as long as it is told, and says how many files it tried.
"""

from __future__ import annotations

import bz2
import collections
import csv
import dataclasses
import gzip
import io
import itertools
import lzma
import operator
import pathlib
import random
import shutil
import signal
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import hypothesis
from hypothesis import strategies as st

from data.errors import DataError
from data.forms import SEPARATORS
from data.prepare import prepare
from tests.data.small_releases import tables_in
from tests.data.tables_in_memory import strictly
from tests.data.test_netflix import rows_of

SECONDS_A_FILE = 20
NAMES = ["user_id", "movie_title", "user_rating", "timestamp", "review"]
# Names, blanks and characters that end something for some reader, or take more than one byte.
TEXT = st.text(st.sampled_from("ab1 é'\",;|\t\n:\\\u2028ŁĂ"), max_size=8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """A file of ratings.

    Attributes:
      rows: user, title, rating, timestamp and an unused column, of rows that are all good.
      content: the bytes of the file.
      unpacked: its text, encoded; None where what it is packed in is damaged so that nobody knows.
      chosen: what has to be said to read it.
      damaged: what was changed after it was written, so that it may be refused: "text", "packed" or "later part" of
        what is packed; empty where nothing was.
    """

    rows: list[tuple[str, ...]]
    content: bytes
    unpacked: bytes | None
    chosen: dict[str, Any]
    damaged: str


def _good(text: str) -> bool:
    return bool(text.strip())


ROWS = st.lists(
    st.tuples(
        TEXT.filter(_good),
        TEXT.filter(_good),
        st.sampled_from(["1", "2", "3.5", "5", "4.0"]),
        st.sampled_from(["", "0", "1125964800"]),
        TEXT,
    ),
    min_size=1,
    max_size=12,
)


RATINGS_OF_FILMS = st.lists(
    st.tuples(
        st.integers(1, 30).map(str),
        st.sampled_from(["1", "2", "17770"]),
        st.sampled_from("12345"),
        st.sampled_from(["2005-09-06", "1999-11-11"]),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[tuple[str, ...]], str, dict[str, Any]]:
    """Rows, their text in Netflix' blocks, and what has to be said to read it."""
    rows = draw(RATINGS_OF_FILMS)
    lines = []
    for film, ratings in itertools.groupby(rows, key=operator.itemgetter(1)):
        lines += [f"{film}:", *(",".join((user, *rest)) for user, _, *rest in ratings)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return rows, end.join([*lines, ""]), {}


@st.composite
def table(draw: st.DrawFn) -> tuple[list[tuple[str, ...]], str, dict[str, Any]]:
    """Rows, their text with separators, and what has to be said to read it."""
    rows = draw(ROWS)
    separator = draw(st.sampled_from(",;|\t"))
    escape = draw(st.sampled_from(["", "\\"]))
    header = draw(st.booleans())
    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer,
        delimiter=separator,
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        doublequote=not escape,
        escapechar=escape or None,
    )
    if header:
        writer.writerow(NAMES)
    writer.writerows(rows)
    chosen: dict[str, Any] = {"escape": escape}
    if not header:
        chosen |= {
            "header": False,
            "separator": separator,
            "columns": {name: str(position + 1) for position, name in enumerate(NAMES[:4])},
        }
    return rows, buffer.getvalue(), chosen


@st.composite
def written(draw: st.DrawFn) -> Written:
    """A file in one of the forms, packed in up to three parts, one in two with something changed in it."""
    rows, text, chosen = draw(st.one_of(table(), table(), blocks()))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    pack = draw(st.sampled_from([bytes, bytes, bytes, gzip.compress, bz2.compress, lzma.compress]))
    # What is damaged: nothing, the text, what it is packed in, or of that the parts behind the first.
    damaged = draw(st.sampled_from(["", "", "", "text", "text", "packed", "later part"]))
    if damaged == "text":
        content = draw(damage(content))
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=2)))
    first, *later = [pack(content[start:end]) for start, end in itertools.pairwise([0, *cuts, len(content)])]
    packed = b"".join(later)
    if damaged == "later part":
        if pack is bytes or not later:
            damaged = ""
        else:
            packed = draw(damage(packed))
    elif damaged == "packed":
        first, packed = draw(damage(first + packed)), b""
    return Written(
        rows=rows,
        content=first + packed,
        unpacked=None if damaged == "packed" else content,
        chosen=chosen,
        damaged=damaged,
    )


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut out, put in, or changed at one to three places."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 10]))
        put = draw(
            st.sampled_from([b"", b'"', b'""', b"\n", b"\r", b",", b";", b"\0", b"\xe9", b"\xff\xfe", b"x", b"\\"])
        )
        content = content[:at] + put + content[at + cut :]
    return content


def kept(text: str) -> str:
    """A name as it is kept, by the words of the documentation: line breaks as blanks, none at the ends, NFC."""
    return unicodedata.normalize("NFC", " ".join(part.strip() for part in text.splitlines() if part.strip()))


def expected_rows(rows: list[tuple[str, ...]]) -> set[tuple[str, str, float]]:
    """User, title and mean rating of each pair."""
    ratings: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for user, title, rating, *_ in rows:
        ratings[kept(user), kept(title)].append(float(rating))
    return {(user, title, round(sum(each) / len(each), 4)) for (user, title), each in ratings.items()}


def records_in(file: Written, form: Mapping[str, str]) -> set[int]:
    """How many records there are by Python's strict reader, good or bad, the header not among them.

    Without a header, damage can leave open how many fields a row has, by which bad rows are told: then one of several,
    up to those of all rows, whose line breaks may be gone.
    """
    text = (file.unpacked or b"").decode(form["encoding"], "replace").removeprefix("\ufeff").replace("\0", "x")
    if form["kind"] != "text":
        return {sum(bool(line.strip("\r")) for line in rows_of(text).split("\n"))}
    separator = SEPARATORS.get(form["separator"], ",")
    escape = file.chosen.get("escape") or None
    skip, widths = 0, set(range(len(NAMES) - 2, len(NAMES) * (len(file.rows) + 1)))
    if file.chosen.get("header") is not False:
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator, escapechar=escape, strict=True)
        widths, skip = {len(next(reader))}, reader.line_num
    rest = "".join(io.StringIO(text, newline="\n").readlines()[skip:])
    return {sum(map(len, strictly(rest, width, escape, separator))) for width in widths}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Ends what hangs."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_file(file: Written, folder: pathlib.Path, max_rejected: int) -> str:
    """What comes of a file: "read", or the type of error that refuses it."""
    path = folder / "own.data"
    path.write_bytes(file.content)
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    try:
        with limited(SECONDS_A_FILE):
            summary = prepare(path, out, max_rejected=max_rejected, scale=(0, 10), **file.chosen)
    except DataError as error:
        if not file.damaged or out.exists():
            raise AssertionError(f"expected {file} to be read, or nothing to be written") from error
        return type(error).__name__
    sidecar = summary.sidecar
    assert sidecar.rows_read == sidecar.rows + sidecar.merged + sidecar.rejected + sidecar.dropped
    assert sidecar.rejected <= max_rejected
    (form,) = sidecar.read_as.values()
    if file.unpacked is not None:
        assert sidecar.rows_read in records_in(file, form)
    if file.damaged in ("", "later part"):
        read = csv.DictReader(io.StringIO(tables_in(out)["ratings.csv"], newline=""))
        found = {(row["user_id"], row["movie_title"], round(float(row["user_rating"]), 4)) for row in read}
        assert found == expected_rows(file.rows)
        assert sidecar.rows_read == len(file.rows)
    return "read"


@hypothesis.settings(max_examples=400, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(file=written(), max_rejected=st.sampled_from([0, 2, 100]))
def test_any_file_is_read_right_or_refused_in_words(file, max_rejected):
    with tempfile.TemporaryDirectory() as folder:
        try_file(file, pathlib.Path(folder), max_rejected)


@click.command()
@click.option("--minutes", type=float, default=30.0, show_default=True)
def fuzz(minutes: float) -> None:
    """Tries random files until the time is over, and counts what came of them."""
    outcomes: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        @hypothesis.settings(
            max_examples=1000, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(file=written(), max_rejected=st.sampled_from([0, 2, 100]))
        def once(file: Written, max_rejected: int) -> None:
            form = "Netflix' blocks" if "escape" not in file.chosen else "table"
            damaged = f"damaged {file.damaged}" if file.damaged else "whole"
            outcomes[f"{form}, {damaged}: {try_file(file, folder, max_rejected)}"] += 1

        while time.monotonic() < end:
            hypothesis.seed(random.getrandbits(64))(once)()
    for outcome, count in sorted(outcomes.items()):
        click.echo(f"{outcome}: {count:,}")


if __name__ == "__main__":
    fuzz()
