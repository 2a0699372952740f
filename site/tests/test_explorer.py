"""The explorer in Chromium: it shows what its text says, for whatever is chosen."""

import pytest
from checks import Opened, overflow
from explorers import faults, told

from conftest import HTML, ROOT
from tools.notebooks import read

NOTEBOOK = ROOT / "nbs" / "03_propagation_explorer.ipynb"
PAGE = "03_propagation_explorer.html"
LANGUAGES = [language for language in ("en", "zh") if (HTML / language / PAGE).exists()]
# The explorers of the page, by the first line of their text.
EXPLORERS = {
    output.data["text/plain"].partition(":")[0]: output.data
    for cell in read(NOTEBOOK).cells
    for output in cell.get("outputs", [])
    if "mask-explorer" in output.get("data", {}).get("text/html", "")
}
FIRST = next(iter(EXPLORERS))


def explorer(opened, name):
    form = opened.page.locator("form.mask-explorer", has=opened.page.locator("p b", has_text=name))
    assert form.count() == 1
    return form


def test_the_page_has_the_eight_ways_and_one_of_a_functional_model():
    assert len(EXPLORERS) == 9 and [name[0] for name in EXPLORERS][:8] == list("12345678")


@pytest.mark.parametrize("name", EXPLORERS)
def test_each_step_repair_and_amount_of_padding_is_shown(browser, name):
    with Opened(browser, HTML / LANGUAGES[0] / PAGE) as opened:
        assert faults(explorer(opened, name), EXPLORERS[name]["text/plain"]) == []
        assert opened.faults == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_can_be_played_on_a_phone(browser, language):
    with Opened(browser, HTML / language / PAGE, width=390, has_touch=True) as opened:
        played = explorer(opened, FIRST)
        assert faults(played, EXPLORERS[FIRST]["text/plain"]) == [] and overflow(opened.page) == []
        assert all(0 <= box["x"] and box["x"] + box["width"] <= 390 for box in map(_box, played.locator("input").all()))


def _box(part):
    return part.bounding_box() or {"x": 0, "width": 0}


@pytest.mark.parametrize("width", [390, 1400])
def test_what_is_chosen_first_can_be_read_without_scripts(browser, width):
    with Opened(browser, HTML / LANGUAGES[0] / PAGE, width=width, java_script_enabled=False) as opened:
        for name, data in EXPLORERS.items():
            form, said = explorer(opened, name), told(data["text/plain"])
            version = next(iter(said.steps))
            assert not form.locator(".slider").is_visible()
            assert form.locator(".frame:visible b").first.inner_text() == "batch"
            answers, error = said.answers[0][version]
            assert " ".join(form.locator(".now:visible").all_inner_texts()) == answers
            assert form.locator(".error:visible").inner_text() == f"padding error {error}"
        # and it can be stepped through, and repaired
        form = explorer(opened, FIRST)
        form.locator(".choice input").nth(1).click()
        step = told(EXPLORERS[FIRST]["text/plain"]).steps["repaired"][2]
        form.locator(".stepping:visible input").nth(2).click()
        assert step.name in form.locator(".stepping:visible label:has(:checked)").inner_text()
        assert form.locator(".frame:visible b").first.inner_text() == step.reads.split()[0]


def test_tab_leads_from_one_choice_to_the_next(browser):
    with Opened(browser, HTML / LANGUAGES[0] / PAGE) as opened:
        explorer(opened, FIRST).locator(".choice input").first.focus()
        reached = []
        for _ in range(3):
            reached.append(opened.page.evaluate("document.activeElement.name || document.activeElement.type"))
            opened.page.keyboard.press("Tab")
        assert reached == ["version", "step0", "range"]


# The check itself, on an explorer that was broken on purpose.


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("<b class=l>0</b>", "<b class=p>0</b>", "as it is, step 2: gives is"),
        ("<small>made</small>", "<small>lost</small>", "as it is, step 1: fate is 'lost', and should be 'made'"),
        ("reads <b>embedding</b>", "reads <b>batch</b>", "as it is, step 2: reads is"),
        (".m1 {display:none}", ".m1 {}", "as it is, step 0: panels is 2, and should be 1"),
        (" + .frame {display:none}", " + .frame {}", "as it is, step 0: frames is 4, and should be 1"),
        ('["0.82","0.71","0.21"]', '["0.82","0.71","0.22"]', "as it is, 1 more steps: answers is '0.82 0.71 0.22'"),
        ('"0.33","0.38"', '"0.33","0.39"', "as it is, 1 more steps: error is '0.39', and should be '0.38'"),
        ('addEventListener("input"', 'addEventListener("never"', "as it is, 1 more steps: more is '0'"),
        ("dataset.padding) + more", "dataset.padding)", "as it is, 1 more steps: padding is [3, 1, 0]"),
        ("<td>0.44</td>", "<td>0.45</td>", "as it is, step 0: alone is '0.45 0.48 -0.11'"),
    ],
)
def test_what_is_shown_otherwise_than_said_is_found(browser, tmp_path, before, after, fault):
    data = EXPLORERS[FIRST]
    assert before in data["text/html"]
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><meta charset='utf-8'>" + data["text/html"].replace(before, after), encoding="utf-8"
    )
    with Opened(browser, page) as opened:
        assert any(message.startswith(fault) for message in faults(explorer(opened, FIRST), data["text/plain"]))
