"""Every page of the built site, opened as a file in Chromium."""

import re

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

from conftest import HTML

PAGES = [path.relative_to(HTML).as_posix() for path in sorted(HTML.rglob("*.html")) if path.parent != HTML]
LANGUAGES = [language for language in ("en", "zh") if f"{language}/index.html" in PAGES]
LESSONS = [page for page in PAGES if re.fullmatch(r"../\d\d_\w+\.html", page)]
both_languages = pytest.mark.skipif(len(LANGUAGES) < 2, reason="the site was built in one language")

# For each chapter, a word that a reader would look for.
WORDS = {
    "00_why_padding_matters": "charming",
    "01_padding": "truncating",
    "02_mask_generation": "NaN",
    "03_propagation": "stale",
    "03_propagation_explorer": "explorer",
    "04_manual_masks": "go_backwards",
    "05_custom_layers": "stale",
    "05_symptoms": "symptoms",
    "06_attention_masks": "causal",
    "07_losses_and_metrics": "CTC",
    "08_padding_contract": "contract",
    "09_mask_debugger": "culprit",
    "10_layer_atlas": "survey",
    "11_batching": "token_budget",
    "12_training": "seeds",
    "13_transformer_block": "transformer",
    "14_scaling_out": "replicas",
    "15_engines": "Grain",
}
SWITCH = "aside a.language"  # of the language, in the sidebar
# Chinese chapters are looked for by what their titles say, and by these.
CHINESE_WORDS = {"掩码": "zh/02_mask_generation.html", "填充": "zh/01_padding.html"}


# The colours that differ in the dark: those of the frame, of reports, of the API, and of each word of code.
DARK = {
    "en": "index search api/padding 00_why_padding_matters 05_symptoms 08_padding_contract source/reports".split(),
    "zh": "index search 09_mask_debugger".split(),
}
EACH_WORD = "en/00_why_padding_matters.html"


def in_other_language(page):
    language, _, name = page.partition("/")
    return f"{'zh' if language == 'en' else 'en'}/{name}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_reader_meets_on_a_page(browser, page):
    language, _, name = page.removesuffix(".html").partition("/")
    with Opened(browser, HTML / page, color_scheme="light") as opened:
        shown = opened.page
        # In this order: the figures open what is folded.
        all_faults = {
            "too wide": overflow(shown),
            "too heavy": weight(opened),
            "two parts with an id": ids_twice(shown),
            "dead links": dead_links(links(shown)),
            "solutions": folded(shown),
            "figures": figures(shown),
            "too wide when unfolded": overflow(shown),
            "accessibility": accessibility(shown, each_word=page == EACH_WORD),
        }
        if name in DARK[language]:
            shown.emulate_media(color_scheme="dark")
            all_faults["accessibility in the dark"] = accessibility(
                shown, each_word=page == EACH_WORD, contrast_only=True
            )
        shown.set_viewport_size({"width": 390, "height": 800})
        all_faults["too wide for a phone"] = overflow(shown)
        all_faults["while it was opened"] = opened.faults
    assert {kind: faults for kind, faults in all_faults.items() if faults} == {}


@pytest.mark.parametrize("page", LESSONS)
def test_a_lesson_can_be_read_without_scripts(browser, page):
    with Opened(browser, HTML / page, java_script_enabled=False) as opened:
        heading = opened.page.locator("article h1")
        assert heading.is_visible() and heading.bounding_box()["y"] < 200
        assert opened.page.locator("article p").first.is_visible()
        assert opened.page.locator("article div.highlight").first.is_visible()
        solutions = opened.page.locator("section.folded > details")
        if solutions.count():
            below = solutions.first.locator("> :not(summary)").first
            assert not below.is_visible()
            solutions.first.locator("> summary").click()
            assert below.is_visible()
        if len(LANGUAGES) > 1:
            opened.page.locator(SWITCH).click()
            assert opened.page.url == (HTML / in_other_language(page)).as_uri()
            assert opened.page.locator("article h1").is_visible()


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_solutions(browser, language):
    with Opened(browser, HTML / language / "01_padding.html") as opened:
        assert opened.page.locator("section.folded > details").count() == 3


# Search.


def search(browser, language, words):
    with Opened(browser, HTML / language / "search.html", query=f"?q={words}") as opened:
        pages = found_by_search(opened.page)
        assert opened.faults == []
    return {f"{language}/{page}" for page in pages}


def test_each_chapter_has_a_word():
    assert {page for page in LESSONS if page.startswith("en")} == {f"en/{name}.html" for name in WORDS}


@pytest.mark.parametrize("name", WORDS)
def test_search_finds_a_word_of_each_chapter(browser, name):
    assert f"en/{name}.html" in search(browser, "en", WORDS[name])


def test_search_finds_a_function_in_the_api(browser):
    assert "en/api/padding.html" in search(browser, "en", "pad_sequences")


@pytest.mark.parametrize("page", [page for page in LESSONS if page.startswith("zh")])
def test_search_finds_the_words_of_a_chinese_heading(browser, page):
    headings = " ".join(re.findall("<h[12]>(.*?)<a", (HTML / page).read_text(encoding="utf-8")))
    words = max(re.findall("[\u4e00-\u9fff]+", headings), key=len)
    assert page in search(browser, "zh", words)


@both_languages
def test_search_finds_code_in_chinese_pages(browser):
    assert {page for page in LESSONS if page.startswith("zh")} <= search(browser, "zh", "keras")


@both_languages
@pytest.mark.parametrize("words", CHINESE_WORDS)
def test_search_finds_chinese_words(browser, words):
    pages = search(browser, "zh", words)
    assert CHINESE_WORDS[words] in pages


@both_languages
def test_search_does_not_find_what_is_not_there(browser):
    assert search(browser, "zh", "蜻蜓") == set() == search(browser, "en", "dragonfly")


def test_a_search_can_be_begun_on_any_page(browser):
    with Opened(browser, HTML / "en" / "03_propagation.html") as opened:
        opened.page.locator("input.sidebar-search").fill("stale")
        opened.page.keyboard.press("Enter")
        assert "03_propagation.html" in found_by_search(opened.page)
        assert opened.faults == []


# The two languages.


def sections(page):
    return page.evaluate("[...document.querySelectorAll('article section')].map((part) => part.id)")


def wait_until_at(page, place):
    """Furo scrolls smoothly, to a little below the top of the window."""
    page.wait_for_function(
        "(id) => Math.abs(document.getElementById(id).getBoundingClientRect().top - 40) < 8", arg=place
    )


@both_languages
@pytest.mark.parametrize("page", [page for page in LESSONS if page.startswith("en")])
def test_the_switch_of_language_leads_to_the_same_place_and_back(browser, page):
    with Opened(browser, HTML / page) as opened:
        english = sections(opened.page)
        place = english[len(english) // 2]
        # as a link in the list of contents does
        opened.page.evaluate("(id) => { location.hash = id; }", place)
        wait_until_at(opened.page, place)
        for language, name in (("zh-CN", in_other_language(page)), ("en", page)):
            opened.page.locator(SWITCH).click()
            opened.page.wait_for_load_state()
            assert opened.page.url == f"{(HTML / name).as_uri()}#{place}"
            assert opened.page.locator("html").get_attribute("lang") == language
            assert sections(opened.page) == english
            wait_until_at(opened.page, place)
        assert opened.faults == []


@both_languages
@pytest.mark.parametrize("page", ["en/08_padding_contract.html", "zh/index.html"])
def test_the_switch_can_be_reached_on_a_phone(browser, page):
    with Opened(browser, HTML / page, width=390) as opened:
        assert not opened.page.locator(SWITCH).is_visible() or opened.page.locator(SWITCH).bounding_box()["x"] < 0
        opened.page.locator("header a.language").click()
        assert opened.page.url == (HTML / in_other_language(page)).as_uri()


@both_languages
def test_the_switch_leads_to_the_front_page_where_a_page_is_english_only(browser):
    with Opened(browser, HTML / "en" / "source" / "padding.html") as opened:
        opened.page.locator(SWITCH).click()
        assert opened.page.url == (HTML / "zh" / "index.html").as_uri()


@both_languages
@pytest.mark.parametrize("name", ["01_padding.html", "search.html?q=掩码", "search.html?q=蜻蜓"])
def test_a_chinese_page_says_nothing_of_its_own_in_english(browser, name):
    path, _, query = name.partition("?")
    with Opened(browser, HTML / "zh" / path, query=f"?{query}") as opened:
        if query:
            found_by_search(opened.page)
        around = opened.page.evaluate("""(() => {
            const labels = [...document.querySelectorAll("[aria-label], [placeholder], [title]")].map(
                (part) => [part.ariaLabel, part.placeholder, part.title].join(" "));
            // what is said in the lesson, names, and the way to the English pages
            document.querySelectorAll("section, .search, .sidebar-tree, .toc-tree, .language, .brand, .title, footer a")
                .forEach((part) => part.remove());
            return document.body.innerText + labels;
        })()""")
        assert set(re.findall(r"[A-Za-z]{3,}", around)) <= {"masking", "tutorial"}


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_the_page_in_front_leads_to_the_language_of_the_browser(browser, locale):
    with Opened(browser, HTML / "index.html", locale=locale) as opened:
        language = locale[:2] if locale[:2] in LANGUAGES else LANGUAGES[0]
        opened.page.wait_for_url(f"**/{language}/index.html")


def test_the_page_in_front_can_be_used_without_scripts(browser):
    with Opened(browser, HTML / "index.html", java_script_enabled=False) as opened:
        if len(LANGUAGES) > 1:
            opened.page.locator("a").first.click()
        opened.page.wait_for_url(f"**/{LANGUAGES[0]}/index.html")


@pytest.mark.skipif("zh" not in LANGUAGES, reason="the site has no Chinese pages")
def test_chinese_has_no_italics(browser):
    with Opened(browser, HTML / "zh/00_why_padding_matters.html") as opened:
        emphases = opened.page.evaluate(r"""[...document.querySelectorAll("article em")].map((part) => [
            /\p{Script=Han}/u.test(part.textContent), getComputedStyle(part).fontStyle])""")
    assert {(chinese, style) for chinese, style in emphases} == {(True, "normal"), (False, "italic")}


# Light and dark.


@pytest.mark.parametrize("language", LANGUAGES)
def test_light_and_dark(browser, language):
    def background(opened):
        return sum(
            map(int, re.findall(r"\d+", opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])
        )

    path = HTML / language / "00_why_padding_matters.html"
    with Opened(browser, path, color_scheme="dark") as opened:
        assert background(opened) < 150
        # figures are drawn on white
        figure = opened.page.evaluate("getComputedStyle(document.querySelector('article img')).backgroundColor")
        assert figure == "rgb(255, 255, 255)"
    with Opened(browser, path, color_scheme="light") as opened:
        assert background(opened) > 600
        opened.page.locator(".theme-toggle-content .theme-toggle").click()
        opened.page.wait_for_function("document.body.dataset.theme !== 'auto'")
        assert background(opened) < 150
