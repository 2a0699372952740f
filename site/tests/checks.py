"""What is checked on a page of the site; each check returns what it found wrong, in words."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
from playwright.sync_api import Browser, Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
MEGABYTE = 1_000_000


class Opened:
    """A page in a browser, with all that went wrong on the way."""

    def __init__(self, browser: Browser, path: Path, width: int = 1400, query: str = "", **options):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.path = path
        self.faults: list[str] = []
        self.requested: set[str] = set()
        self.page.on(
            "console", lambda message: message.type == "error" and self.faults.append(f"console: {message.text}")
        )
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("requestfailed", lambda request: self.faults.append(f"request failed: {request.url}"))
        self.page.on("request", self._note_request)
        self.page.goto(path.as_uri() + query)

    def _note_request(self, request) -> None:
        self.requested.add(request.url)
        if urlsplit(request.url).scheme not in ("file", "data", "blob"):
            self.faults.append(f"request elsewhere: {request.url}")

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_) -> None:
        self.context.close()


def overflow(page: Page) -> list[str]:
    """Whether the page is wider than the window."""
    found = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if found[0] <= found[1]:
        return []
    widest = page.evaluate("""
        [...document.querySelectorAll("article *")]
            .filter((part) => part.getBoundingClientRect().right > innerWidth + 1)
            .map((part) => part.outerHTML.slice(0, 100))[0]""")
    return [f"{found[0]} pixels in a window of {found[1]}: {widest}"]


def figures(page: Page) -> list[str]:
    """Images that are not shown, or that say nothing; what is folded is opened first."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.evaluate("""Promise.all([...document.images].map((image) => {
        image.loading = "eager";
        return image.complete || new Promise((done) => { image.onload = image.onerror = done; });
    }))""")
    found = page.evaluate("""[...document.querySelectorAll("article img")].map((image) => [
        image.getAttribute("src"), image.getAttribute("alt"), image.naturalWidth,
        image.getBoundingClientRect().width, image.checkVisibility()])""")
    return [
        f"the image {source}: "
        + ("is not there" if not natural else "is not seen" if not (width and seen) else "has no words")
        for source, words, natural, width, seen in found
        if not (natural and width and seen and words and not words.startswith("<"))
    ]


def accessibility(page: Page, each_word: bool = False) -> list[str]:
    """Faults that axe-core calls serious or critical. Each colour in code is one more to look at: it takes long."""
    if not each_word:
        page.evaluate(
            "document.querySelectorAll('.highlight pre').forEach((code) => { code.textContent = code.textContent; })"
        )
    page.add_script_tag(content=AXE)
    violations = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{violation['id']}: {violation['help']} ({len(violation['nodes'])}): {violation['nodes'][0]['html'][:150]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


def anchors(page: Page) -> dict[str, list[str]]:
    """The ids of a page, those that are there twice, and where its links lead."""
    return page.evaluate("""(() => {
        const ids = [...document.querySelectorAll("[id]")].map((part) => part.id);
        return {
            ids,
            twice: ids.filter((id, place) => ids.indexOf(id) < place),
            links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
        };
    })()""")


def dead_links(links: list[str], ids_of: Callable[[Path], set[str] | None]) -> list[str]:
    """The links within the site that lead to no file, or to nothing in it. `ids_of` knows the ids of a page."""
    dead = []
    for link in dict.fromkeys(links):
        parts = urlsplit(link)
        if parts.scheme != "file":
            continue
        path = Path(unquote(parts.path))
        fragment = unquote(parts.fragment)
        if not path.is_file():
            dead.append(f"{link}: no such file")
        elif fragment and path.suffix == ".html" and fragment not in (ids_of(path) or ()):
            dead.append(f"{link}: nothing has this id")
    return dead


def weight(opened: Opened) -> list[str]:
    """Whether a page, with all that it loads, is larger than a megabyte."""
    files = {Path(unquote(urlsplit(url).path)) for url in opened.requested if url.startswith("file:")}
    total = sum(file.stat().st_size for file in files)
    return [f"{total:,} bytes"] if total > MEGABYTE else []


def folded(page: Page) -> list[str]:
    """Solutions that are not folded, or that do not open: the first by keyboard, the others by click."""
    found = []
    parts = page.locator("section.folded > details")
    for number in range(parts.count()):
        part = parts.nth(number)
        below = part.locator("> :not(summary)").first
        name = part.evaluate("(part) => part.parentElement.id")
        if below.is_visible():
            found.append(f"{name} is open")
            continue
        summary = part.locator("> summary")
        if number:
            summary.click()
        else:
            summary.focus()
            page.keyboard.press("Enter")
        if not below.is_visible():
            found.append(f"{name} does not open")
    return found


def found_by_search(page: Page) -> list[str]:
    """The pages that a search has found."""
    page.wait_for_selector("#search-results > p.search-summary:not(:empty)")
    return page.evaluate("""[...document.querySelectorAll("#search-results li > a")]
        .map((link) => link.getAttribute("href").split("#")[0].split("?")[0])""")
