"""Pages as a reader without a browser takes them apart."""

from __future__ import annotations

import html.parser
import re
from urllib.parse import urlencode

from tests.pipeline.serving.servers import Answer, Running


class Page(html.parser.HTMLParser):
    """A page: its text, its elements, and the texts of those of a class."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, str]] = []
        self._texts: list[str] = []
        self._heading: list[str] | None = None
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self._heading = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "dt", "dd"):
            self._texts.append(" ")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, "".join(self._heading or [])))
            self._heading = None

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        if self._heading is not None:
            self._heading.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    @property
    def films(self) -> list[str]:
        """Titles of the list, which are its headings of the third order."""
        return [text.strip() for tag, text in self.headings if tag == "h3"]


def ask(site: Running, path: str, **parameters: str | list[str]) -> Answer:
    query = urlencode(parameters, doseq=True)
    return site.ask("GET", f"{path}?{query}" if query else path, headers={"Accept": "text/html"})


def page(site: Running, path: str, **parameters: str | list[str]) -> Page:
    answer = ask(site, path, **parameters)
    assert answer.status == 200, answer.body.decode()[:3000]
    return Page(answer.body)
