"""The page that shows a run, and the anatomy of a model as text, drawing and numbers."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import vertebra
from vertebra.report.html_page import Picture, Section, line_chart_svg, write_page
from vertebra.report.model_summary import model_summary_svg, model_summary_text, summarize_model


@pytest.fixture(scope="module")
def model() -> vertebra.VisionModel:
    return vertebra.create_model(
        "resnet10t",
        branches={
            "animal": {"decoder": "linear", "classes": ["dog", "<cat>"]},
            "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog"]},
            "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "classes": ["dog", "cat"]},
        },
        image_size=(64, 96),
    )


def test_the_anatomy_counts_every_parameter_once(model: vertebra.VisionModel) -> None:
    anatomy = summarize_model(model)
    assert anatomy.parameters == sum(value.numel() for value in model.parameters())
    text = model_summary_text(anatomy)
    for word in (
        "canvas 64 x 96",
        "backbone resnet10t",
        "neck fpn",
        "branch regions",
        "encoder aspp",
        "sigmoid",
        "softmax",
    ):
        assert word in text
    assert [branch["name"] for branch in anatomy.to_dict()["branches"]] == ["animal", "boxes", "regions"]


def test_the_drawing_is_sound_xml_with_every_part(model: vertebra.VisionModel) -> None:
    drawing = model_summary_svg(summarize_model(model))
    words = " ".join(ElementTree.fromstring(drawing).itertext())
    for part in ("resnet10t", "fpn", "linear", "fcos", "aspp", "deeplabv3plus"):
        assert part in words


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not the one last opened."""

    VOID = frozenset({"meta", "img", "br", "circle", "line", "rect", "path", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in self.VOID:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.opened.pop() == tag


def test_the_page_stands_alone_and_escapes_what_users_wrote(tmp_path: Path) -> None:
    picture = Picture(Image.new("RGB", (8, 6), "red"), "<script>alert(1)</script>")
    chart = line_chart_svg({"a & b": [(1, 2.0), (2, 1.0)], "one point": [(1, 1.0)], "none": []}, "losses")
    page = write_page(
        tmp_path / "index.html",
        "Title <x>",
        "intro",
        [Section("Numbers", table=[["name", "value"], ["<b>", "1"]]), Section("Seen", pictures=[picture], svg=chart)],
    ).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "Title &lt;x&gt;" in page
    assert page.count("data:image/") == 1 and 'src="http' not in page
    parser = Balanced()
    parser.feed(page)
    assert not parser.opened


def test_charts() -> None:
    assert line_chart_svg({"none": []}, "nothing") == ""
    drawing = ElementTree.fromstring(line_chart_svg({"one": [(3.0, 0.5)], "two": [(1, 2.0), (2, -1.0)]}, "a < b"))
    assert len(drawing.findall("{*}polyline")) == 2
