"""The pages in a real browser: with script and without, on a phone and at a desk, by keyboard, and read aloud."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pipeline.serving.page.conftest import LONG, SCRIPT
from tests.pipeline.serving.servers import Running

pytestmark = pytest.mark.slow
PHONE, DESK = 360, 1280
EACH_WIDTH = pytest.mark.parametrize("width", [PHONE, DESK])
EACH_SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
KNOWN, OTHER = "Film 02 (1982)", "Film 08 (1988)"
TIMEOUT_MS = 30_000
PLACES = [
    "/",
    "/user",
    "/user?id=u1&seen=1&stages=1&n=30",
    "/user?id=nobody",
    "/user?id=u1&genre=none",
    f"/new?like={KNOWN}=5&like={OTHER}=2&q=film",
    "/new",
    "/title",
    f"/title?name={KNOWN}",
    "/model",
]


class Visit:
    """A page that is visited, and what the browser asked for and complained of meanwhile."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def go(self, path: str) -> Page:
        self.page.goto(self.origin + path)
        return self.page

    @property
    def likes(self) -> list[str]:
        return [value for name, value in parse_qsl(urlsplit(self.page.url).query) if name == "like"]

    @property
    def films(self) -> list[str]:
        return self.page.locator(".films h3").all_inner_texts()

    def check(self) -> None:
        """Nothing was asked of others, and nothing went wrong."""
        assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in self.requests} <= {self.origin}
        assert self.complaints == []


@contextlib.contextmanager
def visiting(browser: Browser, site: Running, **options: Any) -> Iterator[Visit]:
    width = options.pop("width", DESK)
    start = options.pop("start", None)
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    context.set_default_timeout(TIMEOUT_MS)
    if start:
        context.add_init_script(script=start)
    try:
        yield Visit(context.new_page(), f"http://127.0.0.1:{site.rest}")
    finally:
        context.close()


@EACH_WIDTH
@EACH_SCRIPT
def test_a_user_is_chosen_and_the_list_narrowed(browser: Browser, site: Running, width: int, script: bool) -> None:
    with visiting(browser, site, width=width, java_script_enabled=script) as visit:
        page = visit.go("/")
        page.get_by_label("User id").fill("u1")
        page.get_by_role("button", name="Show").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("User u1")
        assert len(visit.films) == 10
        page.locator(".filters > summary").click()
        page.get_by_label("Old", exact=True).check()
        page.get_by_label("what was rated, too").check()
        page.get_by_label("each stage by itself").check()
        page.get_by_role("button", name="Apply").click()
        expect(page.locator(".films h3")).to_have_count(6)
        expect(page.get_by_role("heading", name="Stage by stage")).to_be_visible()
        page.locator(".films h3 a").first.click()
        expect(page.get_by_role("heading", name="The same people choose")).to_be_visible()
        visit.check()


@EACH_WIDTH
@EACH_SCRIPT
def test_somebody_new_gives_stars_and_the_list_changes(
    browser: Browser, site: Running, width: int, script: bool
) -> None:
    with visiting(browser, site, width=width, java_script_enabled=script) as visit:
        page = visit.go("/new")
        before = visit.films
        page.get_by_label("Find a film").fill("film 02")
        page.get_by_role("button", name="Find").click()
        page.get_by_role("link", name=f"5 stars for {KNOWN}").first.click()
        expect(page.get_by_role("heading", name="Your stars 1")).to_be_visible()
        assert visit.likes == [f"{KNOWN}=5"]
        assert KNOWN not in visit.films
        assert visit.films != before
        page.get_by_role("link", name=f"2 stars for {KNOWN}").first.click()
        page.wait_for_url("**like=**%3D2*")
        assert visit.likes == [f"{KNOWN}=2"]
        # The address is all that there is: somebody else sees the same list.
        shared, films = page.url, visit.films
        with visiting(browser, site, java_script_enabled=script) as other:
            other.page.goto(shared)
            assert other.films == films
        page.get_by_role("link", name=f"Remove {KNOWN}").click()
        expect(page.get_by_role("heading", name="Recommended to anybody")).to_be_visible()
        assert visit.likes == []
        page.go_back()
        expect(page.get_by_role("heading", name="Your stars 1")).to_be_visible()
        visit.check()


@EACH_WIDTH
@EACH_SCRIPT
def test_a_title_is_looked_up(browser: Browser, site: Running, width: int, script: bool) -> None:
    with visiting(browser, site, width=width, java_script_enabled=script) as visit:
        page = visit.go("/title")
        page.get_by_role("searchbox" if not script else "combobox", name="Title").fill("Film 02 (1982)")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(KNOWN)
        page.get_by_role("link", name="Recommend to somebody who likes it").click()
        expect(page.get_by_role("heading", name="Your stars 1")).to_be_visible()
        page.get_by_role("link", name="The model", exact=True).click()
        expect(page.get_by_role("heading", name="Versions")).to_be_visible()
        visit.check()


def test_titles_are_suggested_and_chosen_by_keyboard_alone(browser: Browser, site: Running) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/new")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="To the content")).to_be_focused()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.id") == "search":
                break
        field = page.get_by_role("combobox", name="Find a film")
        expect(field).to_be_focused()
        page.keyboard.type("script")
        expect(page.get_by_role("option", name=SCRIPT)).to_be_visible()
        expect(field).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("option", selected=True)).to_have_text(SCRIPT)
        page.keyboard.press("Enter")
        star = page.get_by_role("link", name=f"5 stars for {SCRIPT}")
        expect(star).to_be_visible()
        star.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Your stars 1")).to_be_visible()
        # The focus stays on the star, and what changed is said.
        expect(page.locator(":focus")).to_have_text(f"5 stars for {SCRIPT}")
        expect(page.get_by_role("status")).to_contain_text("1 ratings; the list begins with")
        visit.check()


def test_suggestions_go_when_they_are_not_wanted(browser: Browser, site: Running) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/title")
        field = page.get_by_role("combobox", name="Title")
        field.press_sequentially("film")
        expect(page.get_by_role("option")).to_have_count(8)
        field.press("Escape")
        expect(page.get_by_role("option")).to_have_count(0)
        expect(field).to_have_attribute("aria-expanded", "false")
        field.press_sequentially(" 02")
        page.get_by_role("option", name=KNOWN).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(KNOWN)
        visit.check()


@EACH_WIDTH
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser: Browser, site: Running, axe: str, width: int, scheme: str) -> None:
    with visiting(browser, site, width=width, color_scheme=scheme, start=axe) as visit:
        for place in PLACES:
            page = visit.go(place)
            page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
            violations = [
                (each["id"], each["impact"], [node["html"][:200] for node in each["nodes"][:3]])
                for each in found["violations"]
            ]
            assert violations == [], place
            assert found["passes"], "axe-core looked at nothing"
        visit.check()


@EACH_WIDTH
def test_nothing_stands_out_of_the_page(browser: Browser, site: Running, width: int) -> None:
    with visiting(browser, site, width=width) as visit:
        for place in [*PLACES, f"/title?name={SCRIPT}".replace("&", "%26"), "/user?id=u0&n=100&seen=1"]:
            page = visit.go(place)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, place
        assert page.get_by_text(LONG[:40]).count() > 0
        visit.check()


def test_a_title_that_is_a_script_does_not_run(browser: Browser, site: Running) -> None:
    with visiting(browser, site) as visit:
        dialogs: list[str] = []
        visit.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page = visit.go("/new")
        page.get_by_label("Find a film").fill(SCRIPT)
        page.get_by_role("button", name="Find").click()
        page.get_by_role("link", name=f"5 stars for {SCRIPT}").click()
        expect(page.get_by_role("heading", name="Your stars 1")).to_be_visible()
        visit.go(f"/title?name={SCRIPT}".replace("&", "%26"))
        expect(page.get_by_role("heading", level=1)).to_have_text(SCRIPT)
        assert dialogs == []
        visit.check()


def test_pages_that_say_no_are_pages(browser: Browser, site: Running, tmp_path: pathlib.Path) -> None:
    with visiting(browser, site) as visit:
        page = visit.go("/nowhere")
        expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
        page.get_by_role("link", name="To the first page").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Which films")
