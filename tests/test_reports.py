"""What reports print and draw with: pictures that carry their words, tables as text and HTML."""

import pytest

from masking_tutorial.reports import LEAK, VALID, as_svg, html_table, new_figure, text_table


def test_text_columns_are_as_wide_as_their_longest_cell_and_end_without_blanks():
    lines = iter([("a", "b"), ("long", ""), ("", "c")])
    assert text_table(lines) == "a     b\nlong\n      c"


def test_html_rows_have_their_colors_and_cells_are_escaped():
    table = html_table(iter([("a", "b"), ("<i>", "&"), ("c", "d")]), [VALID, LEAK], "x:'y'")
    head, body = table.split("</thead>")
    assert head == "<table><thead><tr><th style='x:'y''>a</th><th style='x:'y''>b</th></tr>"
    assert body.count("<tr") == 2 and "<i>" not in body and "&lt;i&gt;" in body and "&amp;" in body
    assert body.index(VALID) < body.index("&lt;i&gt;") < body.index(LEAK) < body.index(">c<")


@pytest.mark.parametrize("rows", [1, 3])
def test_a_figure_has_its_rows_below_each_other(rows):
    figure, axes = new_figure(rows=rows, width=5, height=2)
    assert figure.get_size_inches().tolist() == [5, 2 * rows] and len(axes) == rows
    assert as_svg(figure, "words").source.startswith("<svg")
