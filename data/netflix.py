"""Ratings in blocks of one film each, as the Netflix Prize had them: `1:`, then lines of `user,rating,date`."""

from __future__ import annotations

import codecs
import io
import re
from typing import BinaryIO

from data.values import in_bounds
from modules.features import RELEASE_YEAR
from modules.normalization import normalize

# Ratings come in several files, which may be packed.
RATINGS_PATTERN = "combined_data_[0-9]*.txt*"
TITLES_FILES = ("movie_titles.txt", "movie_titles.csv")
# Films without ratings may come first.
_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s*[0-9]+:[ \t]*\r?\n)+\s*[0-9]+,[0-9]+(?:,|\r?\n)")
_FILM = re.compile(rb"^([0-9]+):[ \t]*(?=\r?$)", re.MULTILINE)
_BLOCK = 1 << 22


def looks_like(head: bytes) -> bool:
    """Whether a file that begins so has such blocks."""
    return _FIRST.match(head) is not None


class _Rows(io.BufferedIOBase):
    """The lines of the blocks with their film in front; the line that names a film is left empty."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""
        self._film = b""
        self._ended = False
        self._mark = codecs.BOM_UTF8  # where the file begins

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Some lines, whole ones; about as many bytes as asked for. None at the end alone."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        while not self._ended:
            block = self._file.read(size)
            self._ended = not block
            text = self._rest + block
            end = len(text) if self._ended else text.rfind(b"\n") + 1
            text, self._rest = text[:end], text[end:]
            if text:
                text, self._mark = text.removeprefix(self._mark), b""
                return self._rows(text)
        return b""

    def _rows(self, text: bytes) -> bytes:
        # The parts between lines that name a film, and these films.
        parts = _FILM.split(text)
        has_blanks = b"\n\n" in text or b"\n\r" in text or text[:1] in b"\r\n"
        rows = [_prefixed(parts[0], self._film, is_start=True, has_blanks=has_blanks)]
        for film, part in zip(parts[1::2], parts[2::2], strict=True):
            self._film = film
            rows.append(_prefixed(part, film, is_start=False, has_blanks=has_blanks))
        return b"".join(rows)

    def close(self) -> None:
        self._file.close()
        super().close()


def _prefixed(part: bytes, film: bytes, *, is_start: bool, has_blanks: bool) -> bytes:
    """The film in front of each line of a part, which begins at the start of a line or at the end of the film's.

    Lines that are blank stay so.
    """
    if not part:
        return part
    prefix = film + b","
    ends = part.endswith(b"\n")
    body = part[:-1] if ends else part
    rows = (prefix if is_start else b"") + body.replace(b"\n", b"\n" + prefix) + (b"\n" if ends else b"")
    return re.sub(rb"^%b(?=\r*$)" % prefix, b"", rows, flags=re.MULTILINE) if has_blanks else rows


def as_rows(file: BinaryIO) -> BinaryIO:
    """The file as rows of `film,user,rating,date`, each in the physical line where it stood."""
    return _Rows(file)  # type: ignore[return-value]


def read_titles(file: BinaryIO) -> dict[str, tuple[str, int | None]]:
    """Title and year of each film by its id, of lines `id,year,title`.

    Titles may hold commas. NULL is no year, nor is one in which no film can be released.
    """
    titles: dict[str, tuple[str, int | None]] = {}
    with file:
        for line in b"".join(iter(lambda: file.read(_BLOCK), b"")).decode("utf-8", "replace").split("\n"):
            film, _, rest = line.partition(",")
            year, _, rest = rest.partition(",")
            title = normalize(rest)
            if title:
                number = int(year) if re.fullmatch("[0-9]{4}", year.strip()) else 0
                titles.setdefault(film.strip(), (title, number if in_bounds(number, RELEASE_YEAR) else None))
    return titles
