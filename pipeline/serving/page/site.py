"""The pages: a user, somebody new, a title, the model. They are asked for by GET, and change nothing."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from modules.errors import UserError
from pipeline.serving import rest
from pipeline.serving.answering import Answering, Asking
from pipeline.serving.page import addresses, lists, record
from pipeline.serving.page.known import Known, Shelf
from pipeline.serving.page.lists import Person
from pipeline.serving.page.rendering import HEADERS, STATIC, Renderer, html

_PAGES = (addresses.START, addresses.USER, addresses.NEW, addresses.TITLE, addresses.MODEL)
_SUGGESTED, _FOUND, _SIMILAR, _NAMED = 8, 8, 12, 8
# Versions that are seconds since 1970, from 2001 on; others were not named by Pusher.
_SECONDS = range(10**9, 10**11)
# The scale of a model that does not say what was rated.
_SCALE = (1.0, 5.0)

# What a page says: its template, the status, and values of the template.
View = Callable[[Asking, Known], tuple[str, int, dict[str, Any]]]


class Site:
    """The pages of a server."""

    def __init__(self, answering: Answering, output: str, shows_users: bool) -> None:
        """Reads the templates.

        Args:
          answering: answers what the pages ask.
          output: folder of the pipeline, for what was recorded of versions.
          shows_users: whether pages tell what users rated and are recommended.
        """
        self._answering, self._output, self._shows_users = answering, output, shows_users
        self._shelf, self._renderer = Shelf(shows_users), Renderer()

    def routes(self) -> list[web.RouteDef]:
        """The pages, what they are made of, and titles for somebody who types."""
        pages = {
            addresses.START: self._start,
            addresses.NEW: self._new,
            addresses.TITLE: self._title,
            addresses.MODEL: self._model,
            addresses.SUGGEST: self._suggest,
        }
        if self._shows_users:
            pages[addresses.USER] = self._user
        return [
            *(web.get(path, _counted(handler)) for path, handler in pages.items()),
            web.get(f"{STATIC}{{name}}", self._static),
        ]

    def is_asked(self, request: web.Request) -> bool:
        """Whether a page was asked for, or something that is not there, in a browser."""
        if request.path in _PAGES:
            return True
        return request.match_info.http_exception is not None and "text/html" in request.headers.get("Accept", "")

    def refusal(self, request: web.Request, refused: web.StreamResponse, why: str) -> web.Response:
        """A page that says why there is none."""
        ready = self._answering.versions.are_ready
        values = {
            "status": refused.status,
            "why": why,
            "is_ready": ready,
            "again": request.path_qs,
            "where": request.path,
        }
        page = html(self._renderer.page("refused", {**self._around(None), **values}), refused.status)
        for name in ("Retry-After", "Allow"):
            if name in refused.headers:
                page.headers[name] = refused.headers[name]
        if refused.status == web.HTTPUnauthorized.status_code:
            # Browsers ask people for a name and a password then; the password is the key.
            page.headers["WWW-Authenticate"] = 'Basic realm="movie-ranking", charset="UTF-8"'
        return page

    async def _show(self, request: web.Request, view: View, user: str | None = None) -> web.Response:
        def work(asking: Asking) -> tuple[bytes, int]:
            lists.check_recommends(asking)
            known = self._shelf.of(asking)
            template, status, values = view(asking, known)
            low, high = (known.ratings.low, known.ratings.high) if known.ratings else _SCALE
            steps = known.ratings.steps if known.ratings else list(range(int(low), int(high) + 1))
            shared = {"known": known, "scale": {"low": low, "high": high, "steps": steps}}
            return self._renderer.page(template, {**self._around(asking), **shared, **values}), status

        content, status = await self._answering.show(work, user, request[rest.CALL])
        return html(content, status)

    def _around(self, asking: Asking | None) -> dict[str, Any]:
        """What stands around every page."""
        model = self._answering.versions.current() if asking is None else asking.model
        return {"shows_users": self._shows_users, "model": model, "pushed": model and _pushed(model.number)}

    async def _start(self, request: web.Request) -> web.Response:
        return await self._show(
            request,
            lambda asking, known: ("start", 200, {"users": known.users[:_NAMED], "filters": addresses.Filters()}),
        )

    async def _user(self, request: web.Request) -> web.Response:
        user, filters = addresses.text(request.query.get("id", "")).strip(), addresses.filters(request.query)

        def view(asking: Asking, known: Known) -> tuple[str, int, dict[str, Any]]:
            values = {"user": user, "filters": filters, "users": known.users[:_NAMED]}
            if not user:
                return "choose_user", 200, values
            rated = lists.rated_by(asking, known, user)
            person = Person(user=user, ratings=rated)
            rows = lists.listed(asking, known, person, filters)
            stages = lists.stages(asking, known, person, filters) if filters.stages else []
            is_known = known.place_of_user(user) is not None
            return "user", 200, {**values, "rated": rated, "rows": rows, "stages": stages, "is_known": is_known}

        return await self._show(request, view, user)

    async def _new(self, request: web.Request) -> web.Response:
        query = addresses.text(request.query.get("q", "")).strip()
        ratings, filters = addresses.likes(request.query), addresses.filters(request.query)

        def view(asking: Asking, known: Known) -> tuple[str, int, dict[str, Any]]:
            lists.check_ratings(known, ratings)
            found = _find(known, query) if query else known.titles[:_FOUND] if not ratings else []
            rows = lists.listed(asking, known, Person(user=None, ratings=ratings), filters)
            unknown = [title for title in ratings if title not in known.places]
            values = {"query": query, "found": found, "ratings": ratings, "rows": rows, "unknown": unknown}
            return "new", 200, {**values, "filters": filters}

        return await self._show(request, view)

    async def _title(self, request: web.Request) -> web.Response:
        name = addresses.text(request.query.get("name", "")).strip()

        def view(asking: Asking, known: Known) -> tuple[str, int, dict[str, Any]]:
            if not name:
                return "choose_title", 200, {"name": "", "found": known.titles[:_FOUND]}
            try:
                title = known.search.find(name)
            except UserError:
                title = None
            if title is None:
                return "choose_title", 404, {"name": name, "found": _find(known, name)}
            place = known.places[title]
            count = int(known.counts[place])
            histogram, groups = known.histogram(place), known.groups(place)
            stars = known.ratings.of_title(place)[0].mean() if known.ratings and count else None
            alike = lists.similar(asking, title, _SIMILAR) if count else []
            values = {"title": title, "count": count, "stars": stars, "histogram": histogram, "groups": groups}
            return "title", 200, {**values, "similar": alike, "place": place + 1}

        return await self._show(request, view)

    async def _model(self, request: web.Request) -> web.Response:
        def view(asking: Asking, known: Known) -> tuple[str, int, dict[str, Any]]:
            versions = self._answering.versions
            told = record.read(self._output, asking.model.number)
            statuses = [
                (each, _pushed(each.number), versions.labels.of_version(each.number)) for each in versions.statuses()
            ]
            return "model", 200, {"record": told, "statuses": statuses}

        return await self._show(request, view)

    async def _suggest(self, request: web.Request) -> web.Response:
        query = addresses.text(request.query.get("q", ""))

        def work(asking: Asking) -> list[str]:
            lists.check_recommends(asking)
            return self._shelf.of(asking).search.starting(query, _SUGGESTED)

        titles = await self._answering.show(work, None, request[rest.CALL])
        return web.json_response({"titles": titles}, headers={**HEADERS, "Cache-Control": "no-store"})

    async def _static(self, request: web.Request) -> web.Response:
        return self._renderer.static(request.match_info["name"])


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _counted(handler: Handler) -> Handler:
    """A handler whose requests are counted as those of the page."""

    async def handle(request: web.Request) -> web.Response:
        request[rest.CALL].protocol = "page"
        return await handler(request)

    return handle


def _find(known: Known, query: str) -> list[str]:
    """Titles for what somebody typed, or those with a name like it."""
    return known.search.starting(query, _FOUND) or known.search.suggest(query)


def _pushed(version: int) -> str | None:
    """When a version was pushed, in UTC, for people; None, if its number does not tell."""
    if version not in _SECONDS:
        return None
    return datetime.datetime.fromtimestamp(version, datetime.timezone.utc).strftime("%-d %B %Y, %H:%M UTC")
