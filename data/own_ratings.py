"""Ratings of one's own: a file that names users, titles and ratings in its own words, and side tables beside it."""

from __future__ import annotations

import dataclasses
import functools
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from data import column_names, forms, kinds, netflix, parquet_table
from data.choices import Choices
from data.errors import LayoutError
from data.forms import separator_name
from data.reader import read_side_table
from data.rejects import Rejects
from data.releases import ITEM_ID, Item, RatingsTable, Release, release_of
from data.sources import Files, ReadAs, Source
from data.tables import Joined, Table
from modules.features import (
    COLUMNS,
    MOVIE_TITLE,
    RELEASE_YEAR,
    SIDE_TABLES,
    TIMESTAMP,
    USER_ID,
    USER_RATING,
    Column,
)

# Side tables of one's own have our names, and are read as they are.
_AS_IT_IS = Choices()
_NETFLIX_STARS = (1.0, 5.0)


def open_own(files: Files, parts: Mapping[str, Sequence[str]], choices: Choices) -> Release:
    """Opens ratings of one's own.

    Args:
      files: the files.
      parts: by part, the names of those with its ratings; more than one where they are those of the Netflix Prize.
      choices: how to read them; ours are also found under their own names.

    Raises:
      LayoutError: a file is none that can be read, lacks a column, or has others than the rest.
    """
    column_names.check(choices)
    names = [name for part in parts.values() for name in part]
    if len(parts) == 1 and any(_has_blocks(files, name) for name in names):
        return _open_netflix(files, names, choices)
    if len(names) > len(parts):
        raise LayoutError(
            f"expected Netflix' blocks of one film each in {', '.join(files[name].shown for name in names)}; got none; "
            "give one file"
        )
    tables = {part: _ratings_table(files, name, choices) for part, (name,) in parts.items()}
    found: dict[str, set[str]] = {part: set(table.fields) for part, table in tables.items()}
    shared = functools.reduce(operator.and_, found.values())
    differing = sorted(functools.reduce(operator.or_, found.values()) - shared)
    if differing:
        lacking = next(tables[part].shown for part, names in found.items() if differing[0] not in names)
        raise LayoutError(
            f"expected the same columns of ours in all files; got none for {differing[0]} in {lacking}; leave out what "
            f"not all have: {' '.join(f'--drop {name}' for name in differing)}"
        )
    columns = [column for column in COLUMNS if column.name in shared]
    return release_of(", ".join(table.shown for table in tables.values()), tables, choices.scale, columns)


def _has_blocks(files: Files, name: str) -> bool:
    return not parquet_table.is_parquet(files[name].path) and netflix.looks_like(files.source(name).head())


def _open_netflix(files: Files, names: Sequence[str], choices: Choices) -> Release:
    """Opens ratings in blocks of one film each, as of the Netflix Prize, with the titles where they are there."""
    titles = next((name for name in netflix.TITLES_FILES if name in files), None)
    columns = (MOVIE_TITLE.name if titles is None else ITEM_ID, USER_ID.name, USER_RATING.name, TIMESTAMP.name)
    tables = []
    for name in names:
        source = files.source(name)
        files.note(name, kind="Netflix' blocks", separator=separator_name(","), header=False)
        tables.append(
            Table(
                path=source.file.path,
                shown=source.file.shown,
                separator=",",
                width=len(columns),
                fields={name: position for position, name in enumerate(columns) if name not in choices.drop},
                size=source.size,
                open_file=functools.partial(_open_blocks, source),
            )
        )
    ratings = Joined(tables=tables)
    release = release_of(ratings.shown, {"": ratings}, choices.scale or _NETFLIX_STARS, [TIMESTAMP, RELEASE_YEAR])
    release.columns = tuple(
        column
        for column in release.columns
        if column.name not in choices.drop and (column is not RELEASE_YEAR or titles is not None)
    )
    if titles is not None:
        read = netflix.read_titles(files.source(titles).open())
        files.note(titles, separator=separator_name(","), header=False)
        items = [Item(film, title, year=year) for film, (title, year) in read.items()]
        release.add_items(items, keep_apart=choices.keep_items_apart)
    return release


def _open_blocks(source: Source, path: pathlib.Path) -> BinaryIO:
    return netflix.as_rows(source.open(path))


def read_own_side_tables(release: Release, files: Files, rejects: Rejects, choices: Choices) -> None:
    """Reads `titles.csv` and `users.csv` beside ratings of one's own, with those of our columns that they have.

    Raises:
      LayoutError: one lacks the column of ids, or has a column twice.
      RowError: there are more bad rows than allowed.
    """
    for side in SIDE_TABLES:
        if side.file not in files:
            continue
        asked = dataclasses.replace(_AS_IT_IS, drop=choices.drop)
        table = _text_table(files, side.file, asked, side.columns)
        read_side_table(release, side, table, rejects, strict=choices.strict)
        found = [column for column in side.columns if column.name in table.fields]
        release.columns = tuple(column for column in COLUMNS if column in (*release.columns, *found))


def _ratings_table(files: Files, name: str, choices: Choices) -> RatingsTable:
    file = files[name]
    if parquet_table.is_parquet(file.path):
        names = parquet_table.columns(file.path, file.shown)
        found = column_names.find(file.shown, names, len(names), choices, COLUMNS, "")
        files.read_as[name] = ReadAs(file=file.shown, kind="Parquet", unused=found.unused)
        return parquet_table.ParquetTable(path=file.path, shown=file.shown, fields=found.fields)
    return _text_table(files, name, choices, COLUMNS)


def _text_table(files: Files, name: str, choices: Choices, columns: Sequence[Column]) -> Table:
    """The rows of a text file that has some of our columns.

    Raises:
      LayoutError: the file lacks a required one, has one twice, or is a matrix.
    """
    source = files.source(name)
    shown = source.file.shown
    head = source.head()
    form = forms.find(head, shown, choices, column_names.wanted_names(columns, choices))
    try:
        found = column_names.find(
            shown, form.names, form.width, choices, columns, forms.first_fields((form.sample or [()])[0])
        )
    except LayoutError:
        kinds.refuse_matrix(form.names, form.sample, shown, form.separator)
        raise
    files.note(name, separator=form.separated_by, header=bool(form.names), unused=found.unused)
    return Table(
        path=source.file.path,
        shown=shown,
        separator=form.separator,
        width=form.width,
        fields=found.fields,
        quoted=choices.quotes and len(form.separator) == 1,
        escape=choices.escape,
        decimal_comma=form.separator != ",",
        head=form.head,
        size=source.size,
        open_file=source.open,
    )
