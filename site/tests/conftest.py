"""A browser for the tests of the site. `make test-site` runs them: they are no part of `make test`."""

from pathlib import Path

import pytest

from tools.browser import Missing, all_missing, find_browser

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "site" / "_build" / "html"
# Nothing but what a page asks for may go over the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def check_site(html: Path = HTML) -> None:
    """Raises Missing where the site is not built."""
    if not (html / "index.html").exists():
        raise Missing("The site is not built: make site")


def pytest_sessionstart(session) -> None:
    try:
        for missing in all_missing():
            raise missing
        check_site()
    except Missing as missing:
        pytest.exit(str(missing), returncode=1)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()
