"""The same ratings in the forms that people keep them in, to time `movie-ranking data prepare` on each."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import lzma
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

_BLOCK = 8 << 20
_QUOTED = re.compile(rb'"([^"\n]*)"')
_TITLE = re.compile(rb"^([0-9]+),([^,\n]*),", re.MULTILINE)


def _blocks(path: pathlib.Path) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            end = block.rfind(b"\n") + 1
            yield rest + block[:end]
            rest = block[end:]
    yield rest


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[pathlib.Path, pathlib.Path], None]:
    def write(plain: pathlib.Path, target: pathlib.Path) -> None:
        with target.open("wb") as file:
            file.writelines(map(change, _blocks(plain)))

    return write


def _packed(open_file: Callable[[pathlib.Path], contextlib.AbstractContextManager[BinaryIO]]) -> Callable[..., None]:
    def write(plain: pathlib.Path, target: pathlib.Path) -> None:
        with plain.open("rb") as source, open_file(target) as file:
            shutil.copyfileobj(source, file, _BLOCK)

    return write


def _with_timestamps(change: Callable[[pa.Array], pa.Array]) -> Callable[..., None]:
    def write(plain: pathlib.Path, target: pathlib.Path) -> None:
        reader = pyarrow.csv.open_csv(plain)
        writer = None
        for batch in reader:
            at = batch.schema.get_field_index("timestamp")
            changed = pa.table(
                [change(column) if position == at else column for position, column in enumerate(batch.columns)],
                names=batch.schema.names,
            )
            writer = writer or pyarrow.csv.CSVWriter(target, changed.schema)
            writer.write_table(changed)
        if writer is not None:
            writer.close()

    return write


def _zip(plain: pathlib.Path, target: pathlib.Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.write(plain, "ratings.csv")


def _parquet(plain: pathlib.Path, target: pathlib.Path) -> None:
    reader = pyarrow.csv.open_csv(plain)
    with pyarrow.parquet.ParquetWriter(target, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _netflix(plain: pathlib.Path, target: pathlib.Path) -> None:
    table = pyarrow.csv.read_csv(plain).sort_by("movie_title")
    stars = pc.round(table["user_rating"]).cast(pa.int64()).cast(pa.string())
    dates = pc.strftime(table["timestamp"].cast(pa.timestamp("s")), "%Y-%m-%d")
    rows = pc.binary_join_element_wise(table["user_id"].cast(pa.string()), stars, dates, ",").to_pylist()
    films = table["movie_title"].dictionary_encode().combine_chunks().indices.to_pylist()
    last = None
    with target.open("w") as file:
        for film, row in zip(films, rows, strict=True):
            if film != last:
                file.write(f"{film + 1}:\n")
                last = film
            file.write(f"{row}\n")


def without_quotes(source: pathlib.Path, target: pathlib.Path) -> None:
    """The ratings of a data folder without the commas, and so the quotes, that its titles have."""
    _rewritten(lambda block: _QUOTED.sub(lambda match: match[1].replace(b",", b""), block))(source, target)


def _quoted(block: bytes) -> bytes:
    return b'"' + block.rstrip(b"\n").replace(b",", b'","').replace(b"\n", b'"\n"') + b'"\n' if block else b""


# By name: the file, what makes it of the plain one, which has no quotes and no dots but in ratings, and what options
# it is read with.
FORMS: dict[str, tuple[str, Callable[[pathlib.Path, pathlib.Path], None], tuple[str, ...]]] = {
    "plain": ("plain.csv", shutil.copyfile, ()),
    "tabs": ("tabs.tsv", _rewritten(lambda block: block.replace(b",", b"\t")), ()),
    "two colons": ("colons.dat", _rewritten(lambda block: block.replace(b",", b"::")), ()),
    "decimal commas": ("commas.csv", _rewritten(lambda block: block.replace(b",", b";").replace(b".", b",")), ()),
    "all quoted": ("quoted.csv", _rewritten(_quoted), ()),
    "escaped quotes": (
        "escaped.csv",
        _rewritten(lambda block: _TITLE.sub(rb'\1,"\\"\2\\"",', block)),
        ("--escape", "\\"),
    ),
    "UTF-16": ("utf16.csv", _rewritten(lambda block: block.decode().encode("utf-16-le")), ("--encoding", "utf-16-le")),
    "latin-1": ("latin1.csv", _rewritten(lambda block: _TITLE.sub(b"\\1,\\2 \xe9,", block)), ()),
    "ISO timestamps": ("iso.csv", _with_timestamps(lambda each: each.cast(pa.timestamp("s"))), ()),
    "milliseconds": ("ms.csv", _with_timestamps(lambda each: pc.multiply(each, 1000)), ()),
    "timestamps with .0": (
        "float.csv",
        _with_timestamps(lambda each: pc.binary_join_element_wise(each.cast(pa.string()), ".0", "")),
        (),
    ),
    "gzip": ("ratings.csv.gz", _packed(functools.partial(gzip.open, mode="wb", compresslevel=1)), ()),
    "bzip2": ("ratings.csv.bz2", _packed(functools.partial(bz2.open, mode="wb")), ()),
    "xz": ("ratings.csv.xz", _packed(functools.partial(lzma.open, mode="wb", preset=0)), ()),
    "zstd": ("ratings.csv.zst", _packed(lambda path: pa.CompressedOutputStream(str(path), "zstd")), ()),
    "zip": ("ratings.zip", _zip, ()),
    "Parquet": ("ratings.parquet", _parquet, ()),
    "Netflix' blocks": ("netflix.txt", _netflix, ()),
}
