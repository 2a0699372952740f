"""The checks themselves: each finds what is wrong on a page that was broken on purpose, and nothing on a sound one."""

import pytest
from checks import (
    Opened,
    accessibility,
    dead_links,
    figures,
    folded,
    found_by_search,
    ids_twice,
    links,
    overflow,
    weight,
)

from conftest import Missing, check_site

SOUND = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head><body><main><article>
<section id="top"><h1>A page</h1>
<p><a href="other.html#there">another page</a>, <a href="https://example.org">elsewhere</a></p>
<p><img src="bar.svg" alt="a blue bar" width="20" height="20"></p>
<section id="solution" class="folded"><details><summary>Solution</summary><p>42</p></details></section>
<section id="solution-2" class="folded"><details><summary>Solution</summary><p>43</p></details></section>
</section></article></main></body></html>"""
BAR = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="blue"/></svg>'


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the sound page after a change to it."""
    (tmp_path / "bar.svg").write_text(BAR)
    (tmp_path / "other.html").write_text("<!doctype html><p id='there'>there")
    pages = []

    def open_changed(before="", after="", **options):
        assert before in SOUND
        path = tmp_path / "page.html"
        path.write_text(SOUND.replace(before, after) if before else SOUND, encoding="utf-8")
        pages.append(Opened(browser, path, **options))
        return pages[-1]

    yield open_changed
    for page in pages:
        page.context.close()


@pytest.mark.parametrize(
    "after, fault",
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>nothing()</script>", "script: nothing is not defined"),
        ("<script src='missing.js'></script>", "request failed: file://"),
        ("<img src='http://127.0.0.1:9/dot.png' alt='a dot'>", "request elsewhere: http://127.0.0.1:9/dot.png"),
    ],
)
def test_what_goes_wrong_while_a_page_is_opened(opened, after, fault):
    page = opened("<h1>", f"{after}<h1>")
    page.page.wait_for_timeout(200)
    assert any(message.startswith(fault) for message in page.faults), page.faults


@pytest.mark.parametrize("width", [390, 1400])
def test_what_is_too_wide(opened, width):
    page = opened("<h1>", f"<pre style='width: {width + 100}px'>x</pre><h1>", width=width)
    assert "<pre style" in overflow(page.page)[0]
    assert overflow(opened(width=width).page) == []


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("bar.svg", "missing.svg", "missing.svg: is not there"),
        ('alt="a blue bar"', "", "bar.svg: has no words"),
        ('alt="a blue bar"', 'alt=""', "bar.svg: has no words"),
        ('alt="a blue bar"', 'alt="&lt;Figure size 3x3&gt;"', "bar.svg: has no words"),
        ("<img", "<img style='display: none'", "bar.svg: is not seen"),
        ('width="20"', 'width="0"', "bar.svg: is not seen"),
    ],
)
def test_figures_that_are_not_seen_or_say_nothing(opened, before, after, fault):
    assert figures(opened(before, after).page) == [f"the image {fault}"]


@pytest.mark.parametrize(
    "before, after, rule",
    [
        ('lang="en"', "", "html-has-lang"),
        ("<h1>", "<button></button><h1>", "button-name"),
        ("<h1>", "<h1 style='color: #eee; background: #fff'>", "color-contrast"),
        ("<h1>", "<input type='range'><h1>", "label"),
    ],
)
def test_faults_of_accessibility(opened, before, after, rule):
    assert [fault.partition(":")[0] for fault in accessibility(opened(before, after).page)] == [rule]


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("other.html#there", "missing.html", "missing.html: no such file"),
        ("other.html#there", "other.html#gone", "other.html#gone: nothing has this id"),
        ("other.html#there", "#gone", "page.html#gone: nothing has this id"),
    ],
)
def test_links_that_lead_nowhere(opened, before, after, fault):
    (dead,) = dead_links(links(opened(before, after).page))
    assert dead.endswith(fault)


def test_ids_that_are_there_twice(opened):
    assert ids_twice(opened('id="solution-2"', 'id="solution"').page) == ["solution"]


def test_a_page_that_is_too_heavy(opened, tmp_path):
    (tmp_path / "bar.svg").write_text(BAR.replace("<rect", f"<!-- {'x' * 1_000_000} --><rect"))
    page = opened()
    assert weight(page)[0].startswith("1,00")


def test_colours_alone(opened):
    page = opened("<h1>", "<button></button><h2 style='color: #eee; background: #fff'>pale</h2><h1>").page
    assert [fault.partition(":")[0] for fault in accessibility(page, contrast_only=True)] == ["color-contrast"]


@pytest.mark.parametrize(
    "before, after, fault",
    [
        (
            "<details><summary>Solution</summary><p>42",
            "<details open><summary>Solution</summary><p>42",
            "solution is open",
        ),
        ("<p>42", "<p hidden>42", "solution does not open"),
        ("<p>43", "<p hidden>43", "solution-2 does not open"),
    ],
)
def test_solutions_that_are_open_or_stay_shut(opened, before, after, fault):
    assert folded(opened(before, after).page) == [fault]


@pytest.mark.parametrize("pages", [["a.html"], []])
def test_what_a_search_finds(opened, pages):
    items = "".join(f"<li><a href='{name}?x=y#z'>a</a></li>" for name in pages)
    results = f"<div id='search-results'><p class='search-summary'>done</p><ul>{items}</ul></div>"
    assert found_by_search(opened("<h1>", f"{results}<h1>").page) == pages


def test_nothing_is_found_on_a_sound_page(opened):
    page = opened()
    assert folded(page.page) == figures(page.page) == overflow(page.page) == accessibility(page.page) == []
    assert dead_links(links(page.page)) == ids_twice(page.page) == weight(page) == page.faults == []


def test_no_site(tmp_path):
    with pytest.raises(Missing, match="make site"):
        check_site(tmp_path)
