"""The same data have the same fingerprint wherever they are, and other data have another one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from vertebra.data.open import open_data
from vertebra.data.sources import Source
from vertebra.training.fingerprint import fingerprint


def of(folder: Path, task: str, **options: Any) -> dict[str, Any]:
    return fingerprint([Source(open_data(folder, task, "train", **options), {"branch": task})])


@pytest.mark.parametrize(("name", "task"), [("animals", "classify"), ("boxes", "detect"), ("regions", "segment")])
def test_data_that_moved_are_the_same(scenes: Path, tmp_path: Path, name: str, task: str) -> None:
    here = of(scenes / name, task)
    shutil.copytree(scenes / name, tmp_path / "elsewhere")
    assert of(tmp_path / "elsewhere", task) == here and here["images"] == 12
    classes = open_data(scenes / name, task, "train").labels[task].classes
    assert of(scenes / name, task, classes=classes) == here, "a resumed run opens them with the classes of its config"


def test_other_annotations_are_told(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes / "boxes", tmp_path / "boxes")
    before = of(tmp_path / "boxes", "detect")
    file = next(
        path for path in sorted((tmp_path / "boxes" / "Annotations").iterdir()) if "<object>" in path.read_text()
    )
    listed = (tmp_path / "boxes" / "ImageSets" / "Main" / "train.txt").read_text()
    assert file.stem in listed
    text = file.read_text()
    place = text.index("<xmax>") + len("<xmax>")
    file.write_text(text[:place] + "1" + text[place:])
    now = of(tmp_path / "boxes", "detect")
    assert now["names"] == before["names"] and now["annotations"] != before["annotations"]


def test_other_files_are_told(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes / "regions", tmp_path / "regions")
    before = of(tmp_path / "regions", "segment")
    mask = sorted((tmp_path / "regions" / "masks" / "train").iterdir())[0]
    mask.write_bytes(mask.read_bytes() + b"\0")
    now = of(tmp_path / "regions", "segment")
    assert now["names"] == before["names"] and now["annotations"] != before["annotations"]
    image = sorted((tmp_path / "regions" / "images" / "train").iterdir())[0]
    image.write_bytes(image.read_bytes() + b"\0")
    assert of(tmp_path / "regions", "segment")["names"] != before["names"]
