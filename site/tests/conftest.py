"""A browser for the tests of the site. `make test-site` runs them: they are no part of `make test`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "site" / "_build" / "html"
BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
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


class Missing(Exception):
    """What has to be installed first."""


def find_browser() -> str:
    """Raises Missing where there is none, with what to do."""
    named = os.environ.get("CHROMIUM")
    found = [path for name in ([named] if named else BROWSERS) if (path := shutil.which(name))]
    if not found:
        raise Missing(
            f"{named or 'Chromium'} is not installed. On Debian or Ubuntu: apt-get install chromium\n"
            "Where it has another name, say which: make test-site CHROMIUM=/path/to/chromium"
        )
    return found[0]


def check_fonts() -> None:
    """Raises Missing where there is no font with Chinese characters."""
    if not shutil.which("fc-list") or not subprocess.run(["fc-list", ":lang=zh"], capture_output=True).stdout.strip():
        raise Missing(
            "No font has Chinese characters: the Chinese pages would show boxes.\n"
            "On Debian or Ubuntu: apt-get install fonts-noto-cjk"
        )


def check_site(html: Path = HTML) -> None:
    """Raises Missing where the site is not built."""
    if not (html / "index.html").exists():
        raise Missing("The site is not built: make site")


def pytest_sessionstart(session) -> None:
    try:
        find_browser()
        check_fonts()
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
