"""What an explorer shows on a page, compared with its text form, which says the same."""

from typing import NamedTuple

from playwright.sync_api import Locator

MARKS = {"v": "1", "p": "0", "l": "!", "x": "x"}  # the mark that stands in the text for each class of a cell

# All that is seen: the chosen model and step, what it reads and gives, the padding, the answers and the error.
SEEN = """(form, marks) => {
    const shown = (part) => part.checkVisibility();
    const words = (part) => part ? part.textContent.trim().replace(/\\s+/g, " ") : "";
    const mark = (cell) => marks[cell.className];
    const rows = (part) => [...part.querySelectorAll(".grid > span")];
    const grid = (part) => rows(part).map((row) => [...row.children].map(mark).join(""));
    const figure = (part) => {
        const said = part.querySelector("span").childNodes[0].textContent.trim();
        const kind = ["reads", "gives"].includes(said) ? said : "gives";
        return [kind, [words(part.querySelector("b")), ...(grid(part).length ? grid(part) : ["-"])].join(" ")];
    };
    const panels = [...form.querySelectorAll(".stepping")].filter(shown);
    const labels = panels.flatMap((panel) => [...panel.querySelectorAll(".steps > label")]);
    const label = labels.find((each) => each.querySelector(":checked"));
    const frames = panels.flatMap((panel) => [...panel.querySelectorAll(".frame")]).filter(shown);
    const figures = frames.flatMap((frame) => [...frame.querySelectorAll(".figure")]).map(figure);
    const side = (kind) => figures.filter((each) => each[0] === kind).map((each) => each[1]).join(" ");
    const answers = [...form.querySelectorAll(".answers")].filter(shown);
    const column = (name) => answers.flatMap((part) => [...part.querySelectorAll(`tbody tr > ${name}`)]).map(words);
    return {
        panels: panels.length,
        frames: frames.length,
        steps: labels.length,
        name: label ? words(label.querySelector("span").childNodes[0]) : "",
        fate: label ? words(label.querySelector("small")) : "",
        reads: side("reads"),
        gives: side("gives"),
        more: words(form.querySelector(".slider output")),
        alone: column("td:nth-child(3)").join(" "),
        answers: column(".now").join(" "),
        error: answers.map((part) => words(part.querySelector("output"))).join(" "),
        padding: answers.flatMap((part) => [...part.querySelectorAll("tbody tr")]).map(
            (row) => [...row.querySelectorAll(".p")].filter(shown).length),
    };
}"""


class Step(NamedTuple):
    name: str
    fate: str
    reads: str
    gives: str


class Told(NamedTuple):
    """What the text form of an explorer says."""

    steps: dict[str, list[Step]]  # of each version of the model
    alone: dict[str, str]  # the answers for each sequence alone
    answers: list[dict[str, tuple[str, str]]]  # for each amount of padding, of each version: the answers, the error


def told(text: str) -> Told:
    steps, alone, answers = {}, {}, []
    for block in text.split("\n\n"):
        head, *lines = block.splitlines()
        if "fate of the mask" in head:
            starts = [0, *(head.index(column) for column in ("fate of", "reads", "gives"))]
            rows: list[list[str]] = []
            for line in lines:
                cells = [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None])]
                # A row that needs more than one line has a name in the first one alone.
                rows = [*rows, cells] if cells[0] else [*rows[:-1], [*map(_joined, rows[-1], cells)]]
            steps[head[: starts[1]].strip()] = [Step(*row) for row in rows]
        elif head.startswith("more padding"):
            starts = [head.index(f"{name}: answers") for name in steps]
            for line in lines:
                parts = [line[start:end].split() for start, end in zip(starts, [*starts[1:], None])]
                if line.startswith("alone"):
                    alone = {name: " ".join(part) for name, part in zip(steps, parts)}
                else:
                    answers.append({name: (" ".join(part[:-1]), part[-1]) for name, part in zip(steps, parts)})
    return Told(steps, alone, answers)


def _joined(above: str, below: str) -> str:
    return f"{above} {below}".strip()


def faults(explorer: Locator, text: str) -> list[str]:
    """What an explorer shows otherwise than its text says: the first model by mouse, the second by keyboard."""
    told_of, differences = told(text), []
    page = explorer.page

    def seen():
        return explorer.evaluate(SEEN, MARKS)

    def compare(where: str, shown: dict, **expected) -> None:
        for name, value in expected.items():
            if shown[name] != value:
                differences.append(f"{where}: {name} is {shown[name]!r}, and should be {value!r}")

    for number, (version, steps) in enumerate(told_of.steps.items()):
        padded = [marks.count("0") for marks in steps[0].gives.split()[1:]]
        choice = explorer.locator(".choice input").nth(number)
        if number == 0:
            choice.click()
        else:
            explorer.locator(".choice input").nth(number - 1).focus()
            page.keyboard.press("ArrowRight")
        buttons = explorer.locator(".stepping").nth(number).locator("input[type=radio]")
        for place, step in enumerate(steps):
            if number == 0 or place == 0:
                buttons.nth(place).click()
            else:
                page.keyboard.press("ArrowDown")
            compare(
                f"{version}, step {place}",
                seen(),
                panels=1,
                frames=1,
                steps=len(steps),
                alone=told_of.alone[version],
                **step._asdict(),
            )
        slider = explorer.locator("input[type=range]")
        slider.focus()
        page.keyboard.press("Home")
        for more, row in enumerate(told_of.answers):
            if more:
                page.keyboard.press("ArrowRight")
            answers, error = row[version]
            compare(
                f"{version}, {more} more steps",
                seen(),
                more=str(more),
                answers=answers,
                error=error,
                padding=[here + more for here in padded],
            )
        # The middle of the slider, by mouse.
        slider.click()
        middle = (len(told_of.answers) - 1) // 2
        compare(f"{version}, in the middle", seen(), more=str(middle), error=told_of.answers[middle][version][1])
        page.keyboard.press("Home")
    return differences
