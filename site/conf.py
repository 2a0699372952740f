"""How Sphinx makes the pages; `python -m tools.site` writes what it reads."""

import json
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))

project = "masking_tutorial"
html_title = project
author = "masking_tutorial contributors"
extensions = ["myst_nb", "search_chinese"]

nb_execution_mode = "off"
nb_merge_streams = True
# What JupyterLab calls a heading in a link; the page has ids of its own, the same in each language.
myst_heading_anchors = 6
myst_heading_slug_func = "tools.site.anchor"
myst_heading_anchors_html_ids = False
myst_url_schemes = {
    "http": None,
    "https": None,
    # From a page of another language, all of which are in one folder; without a fragment it leads to the top.
    "english": {"url": "../en/{{path}}.html#{{fragment}}", "classes": ["english"]},
}

html_theme = "furo"
html_theme_options = {
    "top_of_page_buttons": [],
    # Figures are drawn on white, and so are the colours of reports; their grey is too light there, too.
    "light_css_variables": {"figure-frame": "0", "report-colour": "80%"},
    "dark_css_variables": {"figure-frame": "0.5rem", "report-colour": "55%"},
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
templates_path = ["templates"]
html_copy_source = False
smartquotes = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
add_module_names = False
toc_object_entries = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "english.html",
        "sidebar/scroll-end.html",
    ]
}

logger = logging.getLogger(__name__)


def headings_of(app):
    "For each page made of a notebook, the id of each heading, and whether what is below it is folded."
    return json.loads((Path(app.srcdir) / "headings.json").read_text(encoding="utf-8"))


class SharedIds(SphinxTransform):
    "Gives each heading the id that it has in all languages."

    default_priority = 690  # after all ids are given, before links to them are resolved

    def apply(self):
        given = headings_of(self.app).get(self.env.docname)
        if given is None:
            return
        sections = [*self.document.findall(nodes.section)]
        if len(sections) != len(given):
            logger.warning("%d headings were found in the notebook, and %d by Sphinx", len(given), len(sections))
            return
        new = {}
        for section, (identifier, folded) in zip(sections, given):
            new[section["ids"][0]] = identifier
            section["ids"] = [identifier]
            self.document.ids[identifier] = section
            if folded:
                section["classes"].append("folded")
        anchors = self.document.myst_slugs
        for name, (line, identifier, text) in anchors.items():
            anchors[name] = (line, new.get(identifier, identifier), text)


class Folded(SphinxPostTransform):
    "What is below a heading that is folded in JupyterLab is shown when it is asked for."

    default_priority = 400
    formats = ("html",)

    def run(self):
        for section in [*self.document.findall(nodes.section)]:
            if "folded" not in section["classes"]:
                continue
            title, *below = section.children
            section.children = []
            for part in (
                nodes.raw("", "<details><summary>", format="html"),
                title,
                nodes.raw("", "</summary>", format="html"),
                *below,
                nodes.raw("", "</details>", format="html"),
            ):
                section.append(part)


class ChineseEmphasis(SphinxTransform):
    "Marks what is emphasised in Chinese, which has no italics; a title in English keeps them."

    default_priority = 700

    def apply(self):
        for emphasis in self.document.findall(nodes.emphasis):
            if re.search("[\u4e00-\u9fff]", emphasis.astext()):
                emphasis["classes"].append("chinese")


class ModuleNames(SphinxTransform):
    "Lets the name of a module in a heading break after its dot: the whole is wider than a phone."

    default_priority = 700

    def apply(self):
        for title in self.document.findall(nodes.title):
            if title.astext().startswith(f"{project}."):
                name = title.astext()
                title.children = []
                title += nodes.Text(name.replace(".", ".\u200b"))


class Alternatives(SphinxTransform):
    "Every image says something to those who cannot see it."

    default_priority = 700

    def apply(self):
        for image in self.document.findall(nodes.image):
            if not image.get("alt", "").strip() or image["alt"].startswith("<"):
                logger.warning("an image has no alternative text: %s", image["uri"], location=image)


def complete_page(app, page, template, context, doctree):
    "What the templates need beside what Sphinx gives them: above all, where the switch of language leads."
    # Sphinx says that a caption is a heading, but not of which level.
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    own = "zh" if app.config.language.startswith("zh") else "en"
    other_language = "en" if own == "zh" else "zh"
    context["own_language"] = own
    if other_language not in context["languages"].split(","):
        return
    there = page in headings_of(app) and "/" not in page or page == "search"
    up = "../" * page.count("/")
    context["other_language"] = {
        "code": {"en": "en", "zh": "zh-CN"}[other_language],
        "there": there,
        "link": f"{up}../{other_language}/{page if there else 'index'}.html",
    }


def setup(app):
    app.add_transform(SharedIds)
    app.add_transform(ChineseEmphasis)
    app.add_transform(ModuleNames)
    app.add_transform(Alternatives)
    app.add_post_transform(Folded)
    app.connect("html-page-context", complete_page, priority=900)  # after Furo has made its tree
