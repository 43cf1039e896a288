"""Image names of annotation files that were written on another computer."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from vertebra.annotations.notes import Note
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.errors import DataError


def _files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _resolved(root: Path, *names: str, split: str = "") -> tuple[list[str], list[str]]:
    notes: list[Note] = []
    paths = resolve_images(names, image_folders([root], split), root, root / "a.json", notes)
    return paths, [str(note) for note in notes]


@pytest.mark.parametrize(
    "name",
    [
        "0.jpg",
        "images/0.jpg",
        "./images/0.jpg",
        "images\\0.jpg",
        "..\\images\\0.jpg",
        "C:\\Users\\me\\data\\images\\0.jpg",
        "/home/other/data/images/0.jpg",
        "/content/drive/My Drive/0.jpg",
        "https://host/bucket/images/0.jpg?token=a/b",
        "file:///home/other/images/0.jpg",
        "Images/0.JPG",
        "other/0.jpg",
    ],
)
def test_a_name_of_another_computer(tmp_path: Path, name: str) -> None:
    _files(tmp_path, "images/0.jpg", "images/1.jpg")
    paths, notes = _resolved(tmp_path, name, "1.jpg")
    assert paths == ["images/0.jpg", "images/1.jpg"]
    assert len(notes) == int(name not in ("0.jpg", "images/0.jpg", "./images/0.jpg"))
    assert all(note.startswith("1 image ") for note in notes), notes


def test_absolute_path_inside_the_data_set_needs_no_note(tmp_path: Path) -> None:
    _files(tmp_path, "images/0.jpg")
    assert _resolved(tmp_path, str(tmp_path / "images/0.jpg")) == (["images/0.jpg"], [])


@pytest.mark.parametrize(("stored", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms(tmp_path: Path, stored: str, written: str) -> None:
    name = "größe/é.jpg"
    _files(tmp_path, unicodedata.normalize(stored, name))
    paths, notes = _resolved(tmp_path, unicodedata.normalize(written, name))
    assert paths == [unicodedata.normalize(stored, name)]
    assert "Unicode form" in notes[0]


def test_quoted_as_in_a_url(tmp_path: Path) -> None:
    _files(tmp_path, "images/a b.jpg", "images/100%20.jpg")
    paths, notes = _resolved(tmp_path, "a%20b.jpg", "100%20.jpg")
    assert paths == ["images/a b.jpg", "images/100%20.jpg"]
    assert [note for note in notes if "URL" in note] == notes
    assert len(notes) == 1


@pytest.mark.skipif(os.name == "nt", reason="a backslash separates folders there")
def test_a_backslash_in_the_name_of_a_file(tmp_path: Path) -> None:
    _files(tmp_path, "a\\0.jpg", "a/0.jpg")
    assert _resolved(tmp_path, "a\\0.jpg") == (["a\\0.jpg"], [])


def test_images_in_several_folders(tmp_path: Path) -> None:
    _files(tmp_path, "images/0.jpg", "day1/1.jpg", "day2/deep/2.jpg", "labels/3.jpg")
    paths, notes = _resolved(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg")
    assert paths == ["images/0.jpg", "day1/1.jpg", "day2/deep/2.jpg", ""]
    assert notes == [
        "2 images named by a path that does not exist here were taken by the end of the path: 1.jpg, 2.jpg",
        "1 image that the file names was not found and left out: 3.jpg",
    ]


def test_the_longest_end_of_a_path(tmp_path: Path) -> None:
    _files(tmp_path, "camera1/0.jpg", "camera2/0.jpg", "camera2/b/1.jpg", "camera3/1.jpg")
    paths, _ = _resolved(tmp_path, "/mnt/x/camera2/0.jpg", "/mnt/x/b/1.jpg", "/mnt/x/0.jpg")
    assert paths == ["camera2/0.jpg", "camera2/b/1.jpg", ""]


def test_two_names_of_one_end_are_not_taken(tmp_path: Path) -> None:
    _files(tmp_path, "images/0.jpg", "images/1.jpg")
    paths, notes = _resolved(tmp_path, "/a/0.jpg", "/b/0.jpg", "1.jpg")
    assert paths == ["", "", "images/1.jpg"]
    assert "2 images that the file names were not found" in notes[0]


def test_not_the_image_of_another_split(tmp_path: Path) -> None:
    _files(tmp_path, "train/0.jpg", "val/0.jpg", "val/1.jpg")
    assert _resolved(tmp_path, "0.jpg", "1.jpg", split="train")[0] == ["train/0.jpg", ""]


def test_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    _files(tmp_path, "data/0.jpg", "secret.jpg")
    paths, notes = _resolved(tmp_path / "data", "0.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "a\0b.jpg", "")
    assert paths == ["0.jpg", "", "", "", ""]
    assert notes[0].startswith("4 images that the file names were not found")


def test_all_missing(tmp_path: Path) -> None:
    _files(tmp_path, "images/0.jpg")
    with pytest.raises(DataError, match=r"not found \(the first is 1.jpg\); searched in .*images"):
        _resolved(tmp_path, "1.jpg")
