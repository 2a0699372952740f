"""What is checked on a page of the site; each check returns what it found wrong, in words."""

import functools
from html.parser import HTMLParser
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
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if widths[0] <= widths[1]:
        return []
    widest = page.evaluate("""
        [...document.querySelectorAll("article *")]
            .filter((part) => part.getBoundingClientRect().right > innerWidth + 1)
            .map((part) => part.outerHTML.slice(0, 100))[0]""")
    return [f"{widths[0]} pixels in a window of {widths[1]}: {widest}"]


def figures(page: Page) -> list[str]:
    """Images that are not shown, or that say nothing; what is folded is opened first."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.evaluate("""Promise.all([...document.images].map((image) => {
        image.loading = "eager";
        return image.complete || new Promise((done) => { image.onload = image.onerror = done; });
    }))""")
    images = page.evaluate("""[...document.querySelectorAll("article img")].map((image) => [
        image.getAttribute("src"), image.getAttribute("alt"), image.naturalWidth,
        image.getBoundingClientRect().width, image.checkVisibility()])""")
    return [
        f"the image {source}: "
        + ("is not there" if not natural else "is not seen" if not (width and seen) else "has no words")
        for source, words, natural, width, seen in images
        if not (natural and width and seen and words and not words.startswith("<"))
    ]


def accessibility(page: Page, each_word: bool = False, contrast_only: bool = False) -> list[str]:
    """Faults that axe-core calls serious or critical. Each word of code is one more to look at: it takes long."""
    if not each_word:
        page.evaluate("""document.querySelectorAll(".highlight pre, .sig-param").forEach((code) => {
            code.textContent = code.textContent;
        })""")
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(content=AXE)
    # No rule that is run asks for the text of style sheets, which a file may not read.
    options = {"resultTypes": ["violations"], "preload": False}
    if contrast_only:
        options["runOnly"] = ["color-contrast"]
    violations = page.evaluate("(options) => axe.run(options)", options)["violations"]
    return [
        f"{violation['id']}: {violation['help']} ({len(violation['nodes'])}): {node['html'][:150]}"
        + "".join(f" ({reason['message']})" for reason in node["any"][:1])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:1]
    ]


def ids_twice(page: Page) -> list[str]:
    """The ids that more than one part of a page has."""
    return page.evaluate("""(() => {
        const ids = [...document.querySelectorAll("[id]")].map((part) => part.id);
        return ids.filter((id, place) => ids.indexOf(id) < place);
    })()""")


def links(page: Page) -> list[str]:
    """Where the links of a page lead."""
    return page.evaluate("[...document.querySelectorAll('a[href]')].map((link) => link.href)")


class Ids(HTMLParser):
    """Collects the ids of a page from its file: those that are there without a script, too."""

    def __init__(self):
        super().__init__()
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.ids.update(value for name, value in attributes if name == "id" and value)


@functools.cache
def ids_in(path: Path) -> set[str]:
    """The ids in the file of a page."""
    ids = Ids()
    ids.feed(path.read_text(encoding="utf-8"))
    return ids.ids


def dead_links(links: list[str]) -> list[str]:
    """The links to files that lead to no file, or to nothing in it."""
    dead = []
    for link in dict.fromkeys(links):
        parts = urlsplit(link)
        if parts.scheme != "file":
            continue
        path = Path(unquote(parts.path))
        fragment = unquote(parts.fragment)
        if not path.is_file():
            dead.append(f"{link}: no such file")
        elif fragment and path.suffix == ".html" and fragment not in ids_in(path):
            dead.append(f"{link}: nothing has this id")
    return dead


def weight(opened: Opened) -> list[str]:
    """Whether a page, with all that it loads, is larger than a megabyte."""
    files = {Path(unquote(urlsplit(url).path)) for url in opened.requested if url.startswith("file:")}
    total = sum(file.stat().st_size for file in files)
    return [f"{total:,} bytes"] if total > MEGABYTE else []


def folded(page: Page) -> list[str]:
    """Solutions that are not folded, or that do not open: the first by keyboard, the second by mouse."""
    solutions = "[...document.querySelectorAll('section.folded > details')]"
    shown = f"""{solutions}.map((part) => {{
        const below = part.querySelector(":scope > :not(summary)");
        return [part.parentElement.id, below.checkVisibility({{ visibilityProperty: true }})];
    }})"""
    faults = [f"{name} is open" for name, seen in page.evaluate(shown) if seen]
    if not faults:
        for number, summary in enumerate(page.locator("section.folded > details > summary").all()):
            if number == 0:
                summary.focus()
                page.keyboard.press("Enter")
            elif number == 1:
                summary.click()
            else:
                summary.evaluate("(summary) => summary.click()")
        faults = [f"{name} does not open" for name, seen in page.evaluate(shown) if not seen]
    return faults


def found_by_search(page: Page) -> list[str]:
    """The pages that a search has found."""
    page.wait_for_selector("#search-results > p.search-summary:not(:empty)")
    return page.evaluate("""[...document.querySelectorAll("#search-results li > a")]
        .map((link) => link.getAttribute("href").split("#")[0].split("?")[0])""")
