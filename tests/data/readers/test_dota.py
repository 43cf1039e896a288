"""DOTA's text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.readers.tool_formats import load
from vertebra.data.open import detect_format, open_data
from vertebra.data.readers.dota import DotaReader
from vertebra.errors import DataError

LINE = "10 10 30.5 20 25 30 5 20 small-vehicle 0\n"


def write(folder: Path, text: str = LINE, labels: str = "labelTxt", name: str = "P1") -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / labels).mkdir(exist_ok=True)
    Image.new("RGB", (80, 60)).save(folder / "images" / f"{name}.png")
    (folder / labels / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def notes(folder: Path) -> list[str]:
    return [str(note) for note in load(folder, "dota").notes]


def test_the_layout_of_dota(tmp_path: Path) -> None:
    header = "imagesource:GoogleEarth\ngsd:0.146\n"
    for split in ("train", "val"):
        write(tmp_path / split, header + LINE + "20 20 70 40 66 50 16 30 ship 1\n", "labelTxt-v1.5")
        write(tmp_path / split, "5 10 30 10 30 30 5 30 small-vehicle 0\n", "labelTxt-v1.5_hbb")
        write(tmp_path / split, header, "labelTxt-v1.5", "P2")
    assert detect_format(tmp_path) == "dota"
    index = open_data(tmp_path, "rotated_boxes", "val")
    first, second = (index.columns["rotated_boxes"].get(row, (60, 80)) for row in (0, 1))
    assert index.labels["rotated_boxes"].classes == ("ship", "small-vehicle")
    assert first.labels.tolist() == [1, 0] and first.crowd.tolist() == [False, True], "difficult objects do not count"
    assert not len(second.labels) and len(index.images) == 2
    corners = {tuple(point) for point in np.rint(first.corners[1]).tolist()}
    assert corners == {(20, 20), (70, 40), (66, 50), (16, 30)}
    assert [note.partition(":")[0] for note in notes(tmp_path)] == [
        "2 label files of an image that has another were left aside",
        "8 lines of an image's source or scale were left aside",
    ]
    boxes = open_data(tmp_path, "detect", "val").columns["detect"].get(0, (60, 80)).boxes
    np.testing.assert_allclose(boxes[0], [5, 10, 30.5, 30], atol=1e-4)


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    write(tmp_path, LINE + "1 2 3 ship 0\n1 2 3 4 5 6 7 x ship 0\n1 2 3 4 9 6 7 1 ship easy\n\n", labels="annfiles")
    assert len(load(tmp_path, "dota").objects) == 1
    assert (
        notes(tmp_path)
        == [
            "2 annotations without eight numbers, a class name and 0 or 1 in a line were dropped: P1.txt",
            "1 annotation whose last value, whether it is difficult, is not 0, 1 or 2 was dropped: P1.txt",
        ]
        or len(notes(tmp_path)) == 2
    )


def test_files_and_images_that_do_not_match(tmp_path: Path) -> None:
    write(tmp_path)
    Image.new("RGB", (80, 60)).save(tmp_path / "images" / "bare.png")
    (tmp_path / "labelTxt" / "alone.txt").write_text(LINE)
    read = load(tmp_path, "dota")
    assert read.annotated.tolist() == [True, False]
    assert notes(tmp_path) == [
        "1 label file without an image was left out: alone.txt",
        "1 image without a label file was taken as not annotated: bare.png",
    ]
    (tmp_path / "images" / "P1.png").unlink()
    with pytest.raises(DataError, match="no text file of DOTA"):
        load(tmp_path, "dota")


def test_text_with_long_numbers_is_searched_at_once(tmp_path: Path) -> None:
    """A number that could be read in several ways would be tried in all of them, which does not end for four of 500 digits."""
    (tmp_path / "1.txt").write_text(" ".join(["9" * 500] * 4) + "\n")
    assert not DotaReader().looks_like(tmp_path)
