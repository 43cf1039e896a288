"""What ``vertebra data show`` prints and writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.data.check.run import Checked, checked
from vertebra.errors import DataError
from vertebra.report.data_overview import overview
from vertebra.report.data_pictures import TILE, Shown, chosen_rows, contact_sheet, pictures
from vertebra.report.data_show import write_pictures

Make = Callable[..., Path]


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """A COCO folder of gray images with one box each; one image of val is broken, and class cat is only in the last of train."""
    for split in ("train", "val"):
        images = [{"id": n, "file_name": f"{split}{n}.png", "height": 60, "width": 80} for n in range(12)]
        for entry in images:
            pixels = np.random.default_rng(list(str(entry["file_name"]).encode())).integers(
                60, 200, (60, 80, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(tmp_path / str(entry["file_name"]))
        objects = [
            {
                "id": n,
                "image_id": n,
                "category_id": 2 if (split, n) == ("train", 11) else 1,
                "bbox": [10, 10, 40, 30],
                "iscrowd": 0,
            }
            for n in range(12)
        ]
        content = {
            "images": images,
            "annotations": objects,
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        }
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    (tmp_path / "val3.png").write_bytes(b"broken")
    return tmp_path


def content_of(path: Path, **options: Any) -> Checked:
    return checked(path, None, None, None, ReadOptions(), **options)


def test_tables(boxes: Path) -> None:
    tables = {table.title: table for table in overview(content_of(boxes))}
    assert list(tables) == ["Splits", "Classes: detect", "Box sizes"]
    assert tables["Splits"].rows[0][:6] == ("train", "12", "80x60", "80x60", "80x60", "1.0 (1 to 1)")
    assert tables["Classes: detect"].head == ("class", "train", "val", "share", "")
    assert [row[:4] for row in tables["Classes: detect"].rows] == [
        ("dog", "11", "11", "95.7%"),
        ("cat", "1", "0", "4.3%"),
    ]
    assert tables["Box sizes"].rows[1] == ("val", "12", "0 (0%)", "12 (100%)", "0 (0%)", "40x30")


def test_rare_classes_are_among_the_images_shown(boxes: Path) -> None:
    opened = content_of(boxes).opened.splits["train"]
    for seed in range(5):
        assert 11 in chosen_rows(opened, 2, seed)


def test_annotations_are_drawn_before_and_after_augmentation(boxes: Path) -> None:
    opened = content_of(boxes).opened.splits["train"]
    (shown,) = pictures(opened, [0], augmented=True)
    assert (
        TILE - 8 < max(shown.picture.size) <= TILE
        and shown.augmented is not None
        and shown.classes == {"detect": ("dog",)}
    )
    for picture in (shown.picture, shown.augmented):
        values = np.asarray(picture).astype(int)
        blue = np.abs(values - (86, 180, 233)).max(axis=2) < 40  # the color of the first class
        assert blue.sum() > 300
    (again,) = pictures(opened, [0], augmented=True)
    assert again.augmented is not None and np.array_equal(np.asarray(again.augmented), np.asarray(shown.augmented))


def test_images_that_cannot_be_read_are_left_out(boxes: Path) -> None:
    opened = content_of(boxes).opened.splits["val"]
    assert [shown.name for shown in pictures(opened, [2, 3, 4], augmented=False)] == ["val2.png", "val4.png"]
    with pytest.raises(DataError, match="no image can be shown"):
        contact_sheet([])


def test_the_sheet_has_pairs_beside_each_other() -> None:
    plain, changed = Image.new("RGB", (100, 50), "red"), Image.new("RGB", (80, 50), "blue")
    shown = [Shown("train", f"{n}.png", plain, changed, {}) for n in range(4)]
    sheet = np.asarray(contact_sheet(shown, columns=5))
    assert sheet.shape[1] < 5 * 110 and (sheet[30, 20] == (255, 0, 0)).all() and (sheet[30, 160] == (0, 0, 255)).all()


def test_the_page_is_offline_and_names_findings(boxes: Path, tmp_path: Path) -> None:
    content = content_of(boxes)
    sheet, page = write_pictures(tmp_path / "out", content, overview(content), 6, 10, True, 0)
    text = page.read_text(encoding="utf-8")
    with Image.open(sheet) as picture:
        assert picture.format == "PNG" and picture.width > TILE
    assert not re.search(r"(?:src|href)=[\"'](?!data:image/jpeg;base64,|#)", text) and "http" not in text
    figures = re.findall(r"<figure data-split=\"(.*?)\" data-class=\"(.*?)\" data-finding=\"(.*?)\">", text)
    assert len(figures) >= 8 and all(
        json.loads(part.replace("&quot;", '"')) is not None for figure in figures for part in figure
    )
    assert '<option value="cat">cat</option>' in text and "cannot be read" in text
    assert "prefers-color-scheme: dark" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("<b>&", "dog's"):
            for number in range(3):
                folder = tmp_path / "set" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng([number, len(name), len(split)]).integers(
                    0, 255, (40, 50, 3), dtype=np.uint8
                )
                Image.fromarray(pixels).save(folder / f"{number}.png")
    content = content_of(tmp_path / "set")
    _, page = write_pictures(tmp_path / "out", content, overview(content), 4, 8, False, 0)
    text = page.read_text(encoding="utf-8")
    assert "<b>&" not in text and "&lt;b&gt;&amp;" in text
