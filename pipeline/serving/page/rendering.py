"""Pages out of templates, and what every answer of the page carries."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping
from typing import Any

import jinja2
from aiohttp import web

from pipeline.serving.page import addresses

STATIC = "/static/"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PACKAGE = "pipeline.serving.page"
# Nothing from elsewhere, no script or style within a page, no form to elsewhere, in no frame; nobody is told addresses.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_A_YEAR_S = 365 * 24 * 3600


class Renderer:
    """Templates and static files, read once."""

    def __init__(self) -> None:
        """Reads the files of the package."""
        folder = importlib.resources.files(_PACKAGE) / "static"
        self._static = {each.name: each.read_bytes() for each in folder.iterdir()}
        # A file that changes has another address, so that none is asked for twice.
        marks = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._static.items()}
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader(_PACKAGE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            at=addresses, static={name: f"{STATIC}{name}?v={mark}" for name, mark in marks.items()}
        )

    def page(self, template: str, values: Mapping[str, Any]) -> bytes:
        """A page as UTF-8.

        Args:
          template: name of its file, without its end.
          values: of its variables.
        """
        # Half a surrogate pair cannot be encoded, wherever it comes from.
        return self._templates.get_template(f"{template}.html").render(values).encode(errors="replace")

    def static(self, name: str) -> web.Response:
        """A static file.

        Raises:
          HTTPNotFound: there is none of this name.
        """
        if name not in self._static:
            raise web.HTTPNotFound
        cached = {"Cache-Control": f"public, max-age={_A_YEAR_S}, immutable"}
        kind = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=self._static[name], content_type=kind, charset="utf-8", headers={**HEADERS, **cached})


def html(content: bytes, status: int = 200) -> web.Response:
    """An answer with a page, of which nobody keeps a copy."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return web.Response(body=content, status=status, content_type="text/html", charset="utf-8", headers=headers)
