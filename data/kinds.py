"""Kinds of files that are not read, told by how they begin, and what their owner can do about it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from data.errors import LayoutError

_EXPORT = "save it as CSV"
_TO_CSV = ".to_csv('ratings.csv', index=False)"
# What a file begins with, what it is then, and what to do, braces standing for its name. Of letters with which a header
# might begin, the byte behind them tells.
_BEGINNINGS = (
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", "save its sheet as CSV UTF-8"),
    (
        rb"SQLite format 3\0",
        "an SQLite database",
        "export the table: sqlite3 -header -csv {!r} 'SELECT * FROM ratings'",
    ),
    (rb"\x89HDF\r\n", "an HDF5 file", _EXPORT),
    (rb"\x80[\2-\5]|\([ld]p[01]\n", "a Python pickle", f"load it where you trust it, and {_EXPORT}"),
    (rb"\x93NUMPY", "a NumPy array", _EXPORT),
    (rb"RD[AX][23]\n|X\n\0\0\0[\2\3]", "an R file", "save it with write.csv(ratings, row.names = FALSE)"),
    (rb"ARROW1\0|FEA1[^ -~]|\xff{4}", "an Arrow or Feather file", "save it as Parquet or CSV"),
    (rb"ORC[^ -~]", "an ORC file", "save it as Parquet or CSV"),
    (rb"Obj\x01", "an Avro file", "save it as Parquet or CSV"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (rb"Rar!\x1a", "a RAR archive", "unpack it"),
    (rb"\x04\x22\x4d\x18|\x1f\x9d|\xff\x06\0\0sNaPpY", "a file packed with lz4, compress or snappy", "unpack it"),
    (rb"%PDF-", "a PDF document", "give the table itself"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "an image", "give the table itself"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "get the file itself: git lfs pull"),
    (rb"%%MatrixMarket", "a Matrix Market file", "write a row for each entry"),
    (rb"(?i)\s*<(!doctype|!--|html|\?xml)", "a web page or XML, perhaps a page to log in", "download the file itself"),
    (rb"(?is)(\s*%[^\n]*\n)*\s*@relation", "an ARFF file", "save its rows as CSV"),
    (
        rb"\s*\{([^\n]*\}[ \t\r]*\n\s*\{|\s*\"[^\"]*\"\s*:\s*[^\s\[{][^\n]*\}\s*\Z)",
        "lines of JSON",
        "turn them into CSV: pandas.read_json({!r}, lines=True)" + _TO_CSV,
    ),
    (rb"\s*[\[{]\s*[\[{\"]", "JSON", "turn it into CSV: pandas.read_json({!r})" + _TO_CSV),
    (rb"[^\s:,]+( (qid|[0-9]+):[0-9.eE+-]+)+\s*\n", "a LibSVM or libFM file", "write a row for each rating"),
    (
        rb"(?i)--( |\n-- )[^\n]*\bdump\b|PRAGMA \w+ ?=|"
        rb"(\s*(--|/\*)[^\n]*\n)*\s*(INSERT INTO|(CREATE|DROP) TABLE) [^,;]*[(;]",
        "a dump of a database",
        "load it, and export the table as CSV",
    ),
)
_TAR_AT, _TAR = 257, b"ustar"
_UNICODE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
# Characters that no text has: not blanks and line breaks, and not those that may separate fields or switch a character
# set.
_CONTROLS = bytes({*range(0x1B), 0x7F} - {1, *b"\t\n\v\f\r"})
# Parts of archives that are documents, and their names.
_DOCUMENTS = (
    (r"xl/", "an Excel workbook", "save its sheet as CSV UTF-8, and give that"),
    (r"content\.xml$", "an OpenDocument sheet", "save it as CSV, and give that"),
    (r"Index/.*\.iwa$", "a Numbers sheet", "export it as CSV, and give that"),
    (r".*\.npy$", "arrays of NumPy", "save them as CSV, and give that"),
)
# A matrix of users by items has at least so many columns, and this share of cells that are numbers or empty.
_MATRIX_COLUMNS = 10
_MATRIX_NUMBERS = 0.9
_FLOAT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_JESTER_NONE = 99  # which stands where a user did not rate
_NUMBER_OR_NONE = re.compile(r"\s*([+-]?[0-9]*[.,]?[0-9]*|nan|na|null)\s*", re.IGNORECASE)


def refuse(head: bytes, shown: str) -> None:
    """Refuses a file that is no text of rows.

    Args:
      head: what it begins with, unpacked.
      shown: its name in messages.

    Raises:
      LayoutError: it is of another kind, which is named.
    """
    if not head:
        raise LayoutError(f"expected ratings in {shown}; got an empty file; give another")
    text = head.removeprefix(codecs.BOM_UTF8)
    for beginning, kind, remedy in _BEGINNINGS:
        if re.match(beginning, text):
            raise LayoutError(f"expected {shown} to be a text of rows, or Parquet; got {kind}; {remedy.format(shown)}")
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise LayoutError(f"expected {shown} to be a text of rows, or Parquet; got a tar archive; unpack it")
    if _is_binary(head):
        raise LayoutError(
            f"expected {shown} to be a text of rows, or Parquet; got bytes that are no text; where it is UTF-16 "
            "without a mark, give --encoding utf-16-le"
        )


def _is_binary(head: bytes) -> bool:
    """Whether NUL and the like are no rare accident in it; a row with one is a bad row."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return not head.startswith(_UNICODE_MARKS) and controls >= max(4, len(head) / 20)


def refuse_archive(names: Sequence[str], shown: str) -> None:
    """Refuses a zip that is a document.

    Raises:
      LayoutError: it is one.
    """
    for part, kind, remedy in _DOCUMENTS:
        if any(re.match(part, name) for name in names):
            raise LayoutError(f"expected {shown} to be an archive of ratings; got {kind}; {remedy}")


def refuse_matrix(names: Sequence[str], rows: Sequence[Sequence[str]], shown: str, separator: str = ",") -> None:
    """Refuses a matrix of users by items, as Jester's and several of UCI's are.

    Args:
      names: of its columns; empty where it has no header.
      rows: some of its rows.
      shown: the file's name in messages.
      separator: what stands between its fields.

    Raises:
      LayoutError: it is one.
    """
    cells = [cell for row in rows for cell in row]
    width = len(rows[0]) if rows else 0
    numbers = sum(_NUMBER_OR_NONE.fullmatch(cell) is not None for cell in cells)
    if width < _MATRIX_COLUMNS or numbers < _MATRIX_NUMBERS * len(cells):
        return
    first = names[0] if names else 0
    if "user" in str(first).casefold() or not all(_NUMBER_OR_NONE.fullmatch(row[0]) for row in rows):
        users = f"m.rename(columns={{{first!r}: 'user_id'}})"
    else:
        users = "m.rename_axis('user_id').reset_index()"
    how = "" if separator == "," else f", sep={separator!r}"
    how += "" if names else ", header=None"
    how += f", na_values=[{_JESTER_NONE}]" if _is_none(_JESTER_NONE, [cell for row in rows for cell in row[1:]]) else ""
    raise LayoutError(
        f"expected a row for each rating in {shown}; got a matrix of {width} columns, it seems one of users by items; "
        f"turn it into rows: m = pandas.read_csv({shown!r}{how}); {users}.melt('user_id', var_name='movie_title', "
        f"value_name='user_rating').dropna(){_TO_CSV}, without columns that are no items and cells that mean none; "
        "where each row is a rating, say which column is which with --columns"
    )


def _is_none(number: float, cells: Sequence[str]) -> bool:
    """Whether a number lies so far from all others that it is no rating."""
    values = [abs(float(cell)) for cell in cells if _FLOAT.fullmatch(cell.strip())]
    others = [value for value in values if value != number]
    return len(others) < len(values) and 4 * max(others, default=number) < number
