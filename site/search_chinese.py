"""Search in Chinese: each two neighbouring characters are a word, for the index and for what is searched."""

import re

from sphinx.search.en import SearchEnglish

CHARACTERS = r"\u3400-\u4dbf\u4e00-\u9fff"
RUN = re.compile(rf"[{CHARACTERS}]+|[^\W{CHARACTERS}]+")


class SearchChinese(SearchEnglish):
    lang = "zh"
    language_name = "English"  # of the stemmer that the page uses for words in Latin letters

    # The same as `split`.
    js_splitter_code = rf"""
var splitQuery = (query) =>
  (query.match(/[{CHARACTERS}]+|[^\P{{L}}{CHARACTERS}]+|[\p{{N}}_]+/gu) || []).flatMap((run) =>
    /[{CHARACTERS}]/.test(run) && run.length > 1
      ? Array.from({{ length: run.length - 1 }}, (_, place) => run.slice(place, place + 2))
      : [run]
  );
"""

    def split(self, text):
        return [word for run in RUN.findall(text) for word in _pairs(run)]

    def word_filter(self, word):
        return bool(re.match(f"[{CHARACTERS}]", word)) or super().word_filter(word)


def _pairs(run):
    if not re.match(f"[{CHARACTERS}]", run) or len(run) == 1:
        return [run]
    return [run[place : place + 2] for place in range(len(run) - 1)]


def setup(app):
    app.add_search_language(SearchChinese)
