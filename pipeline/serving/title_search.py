"""Titles as people type them, found among those of a catalogue."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from modules.errors import UserError

_YEAR = re.compile(r"\s*\(\d{4}\)$")
_PARENTHESES = re.compile(r"\s*\(([^()]*)\)")
_ARTICLES = "the|a|an|le|la|les|l|un|une|el|los|las|il|lo|gli|i|der|die|das|den|det|de|het|o|os|as"
# "Matrix, The" is how catalogues write it, "The Matrix" how people do.
_BEHIND = re.compile(rf",\s+({_ARTICLES})'?$", re.IGNORECASE)
_BEFORE = re.compile(rf"^({_ARTICLES})\s+")
# Likeness from which on a title is worth suggesting, and how many are.
_ALIKE, _MOST_SUGGESTED = 0.6, 3
_MOST_LISTED = 5


class TitleSearch:
    """Finds a title of a catalogue without its exact spelling.

    A name is looked for as it stands; then without case, accents and punctuation; then without the year behind it; then
    without an article, and by the names in parentheses, such as "Shichinin no samurai" in "Seven Samurai (Shichinin no
    samurai) (1954)". The first of these that fits a title decides.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        """Takes the titles of a catalogue, the best known first."""
        self._titles = dict.fromkeys(titles)
        self._by_form: list[dict[str, list[str]]] | None = None
        self._by_words: list[tuple[str, str, str]] | None = None

    def find(self, name: str) -> str | None:
        """The title that a name stands for; None where none does.

        Raises:
          UserError: it could be any of several.
        """
        if name in self._titles:
            return name
        for form, found_by in zip(_FORMS, self._forms(), strict=True):
            found = list(dict.fromkeys(title for key in form(name) for title in found_by.get(key, ())))
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(map(repr, found[:_MOST_LISTED])) + (", …" if len(found) > _MOST_LISTED else "")
                raise UserError(f"expected one title; got {name!r}, which could be {listed}; give the whole title")
        return None

    def suggest(self, name: str) -> list[str]:
        """Up to three titles with a name like this one, the most alike first."""
        by_name = self._forms()[-1]
        alike = difflib.get_close_matches(next(_loose(name), ""), by_name, n=_MOST_SUGGESTED, cutoff=_ALIKE)
        return list(dict.fromkeys(title for key in alike for title in by_name[key]))[:_MOST_SUGGESTED]

    def starting(self, typed: str, most: int) -> list[str]:
        """Titles in which each word that was typed begins a word, as of somebody who types on.

        Args:
          typed: what was typed so far.
          most: how many are wanted.

        Returns:
          those that begin with it, without their article, before the others; else in the order of the catalogue.
        """
        words = _letters(typed).split()
        if not words:
            return []
        if self._by_words is None:
            self._by_words = [(title, f" {_letters(title)}", next(_loose(title), "")) for title in self._titles]
        text = " ".join(words)
        begin: list[str] = []
        hold: list[str] = []
        for title, spaced, loose in self._by_words:
            if all(f" {word}" in spaced for word in words):
                (begin if loose.startswith(text) or spaced.startswith(f" {text}") else hold).append(title)
        return (begin + hold)[:most]

    def _forms(self) -> list[dict[str, list[str]]]:
        """For each form the titles by what they look like in it."""
        if self._by_form is None:
            self._by_form = [defaultdict(list) for _ in _FORMS]
            for title in self._titles:
                for form, found_by in zip(_FORMS, self._by_form, strict=True):
                    for key in form(title):
                        found_by[key].append(title)
        return self._by_form


def _letters(text: str) -> str:
    """Lower-case letters and digits alone, words apart by one blank; a script without case stays as it is."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return " ".join(re.findall(r"\w+", plain.casefold().replace("'", "").replace("&", " and ")))


def _as_it_stands(title: str) -> Iterator[str]:
    if key := _letters(title):
        yield key


def _without_year(title: str) -> Iterator[str]:
    yield from _as_it_stands(_YEAR.sub("", title))


def _loose(title: str) -> Iterator[str]:
    """The name without year and article, then those in parentheses."""
    name = _YEAR.sub("", title)
    for each in (_PARENTHESES.sub("", name), *_PARENTHESES.findall(name)):
        if key := _BEFORE.sub("", _letters(_BEHIND.sub("", each))):
            yield key


# From the strictest to the loosest.
_FORMS: tuple[Callable[[str], Iterator[str]], ...] = (_as_it_stands, _without_year, _loose)
