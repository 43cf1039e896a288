"""The page that shows a run, and the anatomy of a model as text, drawing and numbers."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import vertebra
from vertebra.report.html_page import Picture, Section, gallery, table, write_page
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
    pair = Picture(
        {"ground truth": Image.new("RGB", (8, 6)), "prediction": Image.new("RGB", (8, 6))}, "a & b", "file:///a"
    )
    numbers = table(["name", "value"], [["<b>", 1.5], ["c", None]], label="numbers")
    page = write_page(
        tmp_path / "index.html",
        "Title <x>",
        "intro",
        [Section("Numbers", [numbers]), Section("Pictures", [gallery([picture, pair])]), Section("Nothing", [""])],
    ).read_text(encoding="utf-8")
    assert page.count("<script") == 1 and "&lt;script&gt;" in page and "Title &lt;x&gt;" in page
    assert page.count("data:image/") == 3 and 'src="http' not in page and "Nothing" not in page
    assert '<th scope="row">&lt;b&gt;</th>' in page and 'data-value="1.5">1.5000' in page
    assert 'alt="prediction: a &amp; b"' in page and "prefers-color-scheme: dark" in page
    parser = Balanced()
    parser.feed(page)
    assert not parser.opened


def test_long_tables_show_the_rest_on_request() -> None:
    html = table(["name"], [[str(number)] for number in range(30)], label="many", max_rows=5)
    assert "All 30 rows" in html and html.count("<tr>") == 1 + 5 + 1 + 30
    assert table(["name"], [], label="none") == ""
