"""A server with a model whose titles are hostile, and a browser that visits it."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
from collections.abc import Iterator

import pooch
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests import support
from tests.pipeline.serving import pushing, servers
from tests.pipeline.serving.servers import Running

SCRIPT = "<script>alert('a \"title\"')</script> & Sons (1981)"
LONG = f"Endless {'x' * 10_000} (1984)"
# Marks that turn what follows around.
TURNED = "\u202eturned\u202c ‮עברית (1986)"
RENAMED = {"Film 01 (1981)": SCRIPT, "Film 04 (1984)": LONG, "Film 06 (1986)": TURNED}
# A model that tells how sure it is, of as few sweeps as there may be.
SWEEPS = {"iterations": 30, "burn_in": 4, "tolerance": 0, "pilot_iterations": 24, "pilot_burn_in": 4}
AXE = "https://registry.npmjs.org/axe-core/-/axe-core-4.10.3.tgz"
AXE_SHA256 = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Nothing that a browser asks its makers of by itself.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--disable-dev-shm-usage",
    "--disable-gpu",
]


@pytest.fixture(scope="session")
def page_output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An output folder with one pushed version, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("page_output")
    model = support.export_recommending(
        tmp_path_factory.mktemp("page_model"), preset="default", values=SWEEPS, renamed=RENAMED
    )
    pushing.push(model, folder)
    return folder


@pytest.fixture(scope="session")
def site(page_output: pathlib.Path) -> Iterator[Running]:
    """A server of it."""
    with servers.running(page_output) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; as long as a module lasts, since others cannot run loops of their own meanwhile."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what keeps people out; fetched once, and not part of the product."""
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "movie-ranking" / "axe"
    try:
        archive = pooch.retrieve(AXE, f"sha256:{AXE_SHA256}", fname="axe-core.tgz", path=folder)
    except OSError as error:
        pytest.skip(f"axe-core cannot be had: {error}")
    with tarfile.open(archive) as packed:
        source = packed.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()
