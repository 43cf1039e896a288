"""Charts as SVG: round ticks, a color a curve, no more curves than can be told apart, and sound XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from vertebra.report.bar_charts import MAX_BARS, bar_chart
from vertebra.report.blocks import blocks_html
from vertebra.report.heat_maps import MAX_NAMES, heat_map
from vertebra.report.line_charts import MAX_CURVES, MAX_POINTS, line_chart
from vertebra.report.svg_axes import epoch_axis, make_axis, tick_text
from vertebra.tasks.diagnosis import BarChart, Curve, LineChart, Matrix, Table

X = np.linspace(0, 1, 5)


def drawings(html: str) -> list[ElementTree.Element]:
    """The charts in HTML, without the samples of legends."""
    return [
        ElementTree.fromstring(text) for text in re.findall(r"<svg .*?</svg>", html, re.S) if "aria-hidden" not in text
    ]


def test_ticks_are_round_and_cover_the_values() -> None:
    axis = make_axis(np.array([0.31, 0.94]), 0, 100)
    assert axis.ticks == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0) and float(axis.position(0.5)) == 50
    axis = make_axis(np.array([0.975, 0.9875]), 0, 100)
    assert axis.low == 0.975 and axis.high >= 0.9875 and len(axis.ticks) in range(4, 8), (
        "far from 0, it does not start there"
    )
    assert [tick_text(tick, (0.0, 2.5, 5.0)) for tick in (0.0, 2.5, 5.0)] == ["0.0", "2.5", "5.0"]
    assert [tick_text(tick, (0.0, 2000.0)) for tick in (0.0, 2000.0)] == ["0", "2,000"]
    for value in (0.0, 3.0, -2.0):
        single = make_axis(np.array([value]), 0, 100)
        assert single.low < single.high and single.low <= value <= single.high


def test_a_loss_that_falls_by_orders_of_magnitude_is_drawn_logarithmically() -> None:
    values = np.array([900.0, 3.0, 2.0, 1.5, 1.2])
    axis = make_axis(values, 0, 100, log=True)
    assert axis.log and axis.ticks == (1.0, 10.0, 100.0, 1000.0)
    assert np.allclose(axis.position(np.array([1.0, 10.0, 1000.0])), [0, 100 / 3, 100])
    assert not make_axis(values, 0, 100).log and not make_axis(values - 5, 0, 100, log=True).log


def test_epochs_are_whole_numbers() -> None:
    assert epoch_axis(np.array([1.0, 4.0]), 0, 100).ticks == (1, 2, 3, 4)
    ticks = epoch_axis(np.array([1.0, 300.0]), 0, 100).ticks
    assert ticks[0] == 1 and all(tick == round(tick) for tick in ticks) and len(ticks) < 9
    assert epoch_axis(np.array([3.0]), 0, 100).ticks == (3,)


def test_each_curve_has_its_color() -> None:
    curves = [Curve(f"a & b {number}", X, X**number) for number in range(1, MAX_CURVES + 1)]
    html = line_chart(LineChart("T <1>", "recall", "precision", curves, diagonal=True))
    (drawing,) = drawings(html)
    groups = [each.get("class") for each in drawing.iterfind(".//{*}g") if each.get("class")]
    assert groups == [f"c{number}" for number in range(MAX_CURVES)] and html.count("<li>") == MAX_CURVES
    assert "T &lt;1&gt;" in html and "a &amp; b 1" in html and "ideal" in html
    assert "a & b 1 from 0.0000 to 1.0000" in str(drawing.get("aria-label"))


def test_of_many_curves_the_ends_and_the_mean_are_drawn_and_the_rest_on_request() -> None:
    curves = [Curve(f"class {number}", X, np.full(5, number / 20)) for number in range(20)]
    html = line_chart(LineChart("F1", "score", "F1", curves))
    first, *rest = drawings(html)
    shown = [title.text for line in first.iterfind(".//{*}polyline") for title in line.iterfind(".//{*}title")]
    assert shown == ["class 19", "class 18", "class 17", "class 2", "class 1", "class 0", "mean of all"]
    assert len(rest) == 3 and "<details>" in html and "of 20 curves" in html
    assert all(len(list(each.iterfind(".//{*}polyline"))) <= MAX_CURVES for each in rest)


def test_points_that_are_not_finite_are_left_out_and_many_are_thinned() -> None:
    long = np.linspace(0, 1, 5000)
    html = line_chart(LineChart("t", "x", "y", [Curve("a", np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 2.0]))]))
    assert "nan" not in html and len(list(drawings(html)[0].iterfind(".//{*}circle"))) == 2
    html = line_chart(LineChart("t", "x", "y", [Curve("a", long, long, mark=(0.5, 0.5))]))
    (line,) = drawings(html)[0].iterfind(".//{*}polyline")
    assert len(str(line.get("points")).split()) == MAX_POINTS and "0.5000 at x 0.5" in html
    assert line_chart(LineChart("t", "x", "y", [Curve("a", X, np.full(5, np.nan))])) == ""


def test_bars_start_at_zero() -> None:
    html = bar_chart(BarChart("Kinds", {"missed": 0.2, "class <x>": -0.1, "nothing": 0.0}, "points of mAP"))
    (drawing,) = drawings(html)
    missed, wrong, _ = drawing.iterfind(".//{*}rect")
    zero = float(str(missed.get("x")))
    assert float(str(wrong.get("x"))) + float(str(wrong.get("width"))) == pytest.approx(zero, abs=0.2)
    assert float(str(missed.get("width"))) == pytest.approx(2 * float(str(wrong.get("width"))), rel=0.01)
    many = bar_chart(BarChart("Many", {f"n{number}": float(number) for number in range(40)}))
    assert len(list(drawings(many)[0].iterfind(".//{*}rect"))) == MAX_BARS and "All 40 values" in many
    assert bar_chart(BarChart("None", {"a": float("nan")})) == ""


def test_a_heat_map_is_colored_by_the_share_of_its_row() -> None:
    counts = np.array([[8, 2], [0, 5]])
    html = heat_map(Matrix("Confusion", "ground truth", "prediction", ["cat", "dog"], ["cat", "dog"], counts))
    (drawing,) = drawings(html)
    cells = list(drawing.iterfind(".//{*}rect"))
    assert [cell.get("fill-opacity") for cell in cells] == ["0.80", "0.20", None, "1.00"]
    assert "ground truth cat, prediction dog: 2 of 10 (20.0%)" in [
        title.text for title in drawing.iterfind(".//{*}title")
    ]
    assert heat_map(Matrix("Empty", "a", "b", ["x"], ["x"], np.zeros((1, 1)))) == ""


def test_a_large_matrix_keeps_its_most_confused_names() -> None:
    names = [f"n{number}" for number in range(60)]
    counts = np.eye(60) * 10
    counts[50, 3] = 7
    html = heat_map(Matrix("Large", "ground truth", "prediction", names, names, counts))
    (drawing,) = drawings(html)
    texts = [text.text for text in drawing.iterfind(".//{*}text")]
    assert "n50" in texts and "n3" in texts and len(list(drawing.iterfind(".//{*}rect"))) == MAX_NAMES**2
    assert "of 60" in html


def test_blocks_keep_their_order() -> None:
    blocks = [
        BarChart("First", {"a": 1.0}),
        Table("Second", list("abcdef"), [["a", 3, 4, 5, 6, 7]]),
        Table("Narrow", ["name", "count"], [["a", 3], ["b", None]]),
        LineChart("Third", "x", "y", [Curve("a", X, X)]),
    ]
    html = blocks_html(blocks)
    assert (
        html.index("First") < html.index("Second") < html.index("Narrow") < html.index("Third")
        and html.count('class="charts"') == 2
    )
    assert blocks_html([Table("None", ["a"], [])]) == ""
