"""Pictures of the pages: `python -m tests.pipeline.serving.page.screenshots OUTPUT`, the output folder of a run.

They go to `docs/images/`, as small as their colours allow, each below 200 KB.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
from urllib.parse import parse_qs, urlencode, urlsplit

from pipeline import environment

environment.prepare()

from playwright.sync_api import sync_playwright

from tests.conftest import ROOT
from tests.pipeline.serving import servers
from tests.pipeline.serving.page.conftest import ARGUMENTS, BROWSERS
from tests.pipeline.serving.page.pages import Page

FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 200_000
TIMEOUT_MS = 120_000
# Name, width and height in pixels, colours.
PICTURES = (
    ("page-user", 1280, 900, "light"),
    ("page-new", 1280, 900, "light"),
    ("page-new-phone", 360, 740, "dark"),
    ("page-title", 1280, 900, "light"),
    ("page-model", 1280, 900, "dark"),
)
STARS = (5, 4, 5)


def main(output: str) -> None:
    """Takes all pictures of the model that was pushed last."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("expected a Chromium; got none; apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with servers.running(pathlib.Path(output)) as site, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        # What most people know, whatever the data.
        users, titles = _names(site.ask("GET", "/").body.decode(), "id"), site.ask("GET", "/title").body.decode()
        known = _names(titles, "name")
        likes = urlencode([("like", f"{title}={stars}") for title, stars in zip(known, STARS, strict=False)])
        places = {
            "page-user": f"/user?{urlencode({'id': users[0]})}",
            "page-new": f"/new?{likes}",
            "page-new-phone": f"/new?{likes}",
            "page-title": f"/title?{urlencode({'name': known[0]})}",
            "page-model": "/model",
        }
        for name, width, height, colours in PICTURES:
            context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
            context.set_default_timeout(TIMEOUT_MS)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{site.rest}{places[name]}")
            file = FOLDER / f"{name}.png"
            page.screenshot(path=file)
            context.close()
            if file.stat().st_size > MOST_BYTES:
                raise SystemExit(f"expected up to {MOST_BYTES:,} bytes in {file}; got {file.stat().st_size:,}")
            print(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")
        chromium.close()


def _names(page: str, parameter: str) -> list[str]:
    """What links of a page name in a parameter of their addresses, in order."""
    links = [attributes.get("href") or "" for tag, attributes in Page(page.encode()).elements if tag == "a"]
    found = [parse_qs(urlsplit(link).query).get(parameter) for link in links]
    return [each[0] for each in found if each]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "output")
