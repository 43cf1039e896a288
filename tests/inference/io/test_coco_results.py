"""COCO results: the ids of images and classes, a job that was killed, and COCO's own reader."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.inference.painted import Painted, paint
from vertebra.errors import ConfigError, DataError, RunError
from vertebra.inference.io.coco_results import CocoIds, CocoResults, coco_branch, coco_ids
from vertebra.inference.io.json_lines import JsonLines

JOB = {"model name": "painted", "model": "0123456789ab", "threshold": 0.3}
RECTANGLES = {
    "000000000139.png": [(10, 12, 40, 30, 0), (50, 8, 60, 44, 1)],
    "000000000285.png": [],
    "632.png": [(5, 5, 25, 15, 1)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name, rectangles in RECTANGLES.items():
        Image.fromarray(paint((48, 64), rectangles)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Ids that are no numbers of names or classes; category ids with gaps, in another order."""
    raw = {
        "images": [
            {"id": 7000 + place, "file_name": name, "height": 48, "width": 64} for place, name in enumerate(RECTANGLES)
        ],
        "categories": [{"id": 90, "name": "b"}, {"id": 13, "name": "a"}, {"id": 14, "name": "c"}],
        "annotations": [],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(raw))
    return path


def model(*names: str) -> Painted:
    return Painted((48, 64), names or ("boxes",))


def results_of(folder: Path, path: Path, ids: CocoIds, branch: str = "boxes") -> list[dict[str, Any]]:
    with CocoResults(path, branch, ids, JOB) as written:
        for result in model(branch).predict(folder):
            written.write(result)
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_coco_reads_them(folder: Path, annotations: Path, tmp_path: Path) -> None:
    files, path = sorted(folder.iterdir()), tmp_path / "found.json"
    found = results_of(folder, path, coco_ids(files, ("a", "b"), annotations))
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO(str(annotations)).loadRes(str(path))
    read = {(own["image_id"], own["category_id"], tuple(own["bbox"])) for own in loaded.loadAnns(loaded.getAnnIds())}
    assert read == {(7000, 13, (10, 12, 30, 18)), (7000, 90, (50, 8, 10, 36)), (7002, 90, (5, 5, 20, 10))}
    assert all(0.8 < own["score"] <= 1 for own in found)
    assert [file.name for file in tmp_path.iterdir() if "found" in file.name] == ["found.json"], "the part is gone"


def test_points(folder: Path, annotations: Path, tmp_path: Path) -> None:
    ids = coco_ids(sorted(folder.iterdir()), ("a", "b"), annotations)
    found = results_of(folder, tmp_path / "found.json", ids, "corners")
    assert [(own["image_id"], own["category_id"]) for own in found] == [(7000, 13), (7000, 90), (7002, 90)]
    np.testing.assert_allclose(found[0]["keypoints"], [10, 12, 1, 40, 12, 1, 25, 30, 1])
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(COCO(str(annotations)).loadRes(str(tmp_path / "found.json")).getAnnIds()) == 3


def test_ids_without_annotations(folder: Path, tmp_path: Path) -> None:
    ids = coco_ids(sorted(folder.iterdir()), ("a", "b"), None)
    assert list(ids.images.values()) == [139, 285, 632] and ids.categories is None
    assert [(own["image_id"], own["category_id"]) for own in results_of(folder, tmp_path / "f.json", ids)] == [
        (139, 0), (139, 1), (632, 1),
    ]  # fmt: skip
    assert coco_ids(["a/dog.jpg", "b/1e3.jpg", "c/٣.jpg"], (), None).images == {
        "a/dog.jpg": "dog", "b/1e3.jpg": "1e3", "c/٣.jpg": "٣",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"a/1\.jpg and b/01\.jpg would both have image id 1"):
        coco_ids(["a/1.jpg", "b/01.jpg"], (), None)


def test_images_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    images = [
        {"id": 1, "file_name": "train/a.jpg"},
        {"id": 2, "file_name": "val/a.jpg"},
        {"id": 3, "file_name": "b.jpg"},
    ]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 5, "name": "dog"}]}))
    ids = coco_ids(["data/val/a.jpg", "data/train/a.jpg", "anywhere/b.jpg"], ["dog"], path)
    assert list(ids.images.values()) == [2, 1, 3] and ids.categories == [5]
    with pytest.raises(DataError, match=r"test/a\.jpg: not among the 3 images of .*truth\.json"):
        coco_ids(["test/a.jpg"], ["dog"], path)
    with pytest.raises(DataError, match=r"truth\.json: has no category 'cat'.*it has: dog"):
        coco_ids(["b.jpg"], ["dog", "cat"], path)
    for content in ("{", "[]", '{"images": [{"id": 1}], "categories": []}', '{"images": []}'):
        path.write_text(content)
        with pytest.raises(DataError, match=r"truth\.json: not a COCO file"):
            coco_ids([], [], path)
    with pytest.raises(DataError, match=r"nowhere\.json: cannot be read"):
        coco_ids([], [], tmp_path / "nowhere.json")


def test_a_killed_job_goes_on(folder: Path, tmp_path: Path) -> None:
    path, part = tmp_path / "deep" / "found.json", tmp_path / "deep" / "found.json.part"
    ids = coco_ids(sorted(folder.iterdir()), ("a", "b"), None)
    results = model().predict(folder)
    with pytest.raises(KeyboardInterrupt), CocoResults(path, "boxes", ids, JOB) as written:
        for result in results[:2]:
            written.write(result)
        raise KeyboardInterrupt
    assert not path.exists() and len(part.read_text().splitlines()) == 2
    with part.open("a") as file:
        file.write('{"image": "6')
    with CocoResults(path, "boxes", ids, JOB) as written:
        names = [str(result.path) for result in results]
        assert [written.part.has(name) for name in names] == [True, True, False], "the one without objects is done too"
        written.write(results[2])
    assert [own["image_id"] for own in json.loads(path.read_text())] == [139, 139, 632]
    assert not part.exists()
    with pytest.raises(RunError, match=r"found\.json exists, and nothing is overwritten"):
        CocoResults(path, "boxes", ids, JOB)


def test_what_another_job_left_is_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    with JsonLines(tmp_path / "found.json.part", {**JOB, "branch": "boxes"}) as lines:
        lines.write({"image": "elsewhere/7.png", "objects": [{"image_id": 7}]})
    with CocoResults(path, "boxes", coco_ids(sorted(folder.iterdir()), ("a", "b"), None), JOB) as written:
        written.write(model().predict(folder)[0])
    assert {own["image_id"] for own in json.loads(path.read_text())} == {139}


def test_masks(folder: Path, annotations: Path, tmp_path: Path) -> None:
    raw = json.loads(annotations.read_text())
    classes = ("nothing", "a", "b")
    files, path = sorted(folder.iterdir()), tmp_path / "found.json"
    with pytest.raises(DataError, match="has no category 'nothing'"):
        coco_ids(files, classes, annotations)
    ids = coco_ids(files, classes, annotations, dispensable=["nothing"])
    assert ids.categories == [None, 13, 90]
    found = results_of(folder, path, ids, "paint")
    assert [(own["image_id"], own["category_id"]) for own in found] == [(7000, 13), (7000, 90), (7002, 90)]
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO(str(annotations)).loadRes(str(path))
    mask = loaded.annToMask(loaded.loadAnns(loaded.getAnnIds(imgIds=[7000], catIds=[90]))[0])
    wanted = np.zeros((48, 64), np.uint8)
    wanted[8:44, 50:60] = 1
    assert np.array_equal(mask, wanted) and raw["images"][0]["id"] == 7000


def test_another_job_or_a_second_process_is_refused(folder: Path, tmp_path: Path) -> None:
    path, ids = tmp_path / "found.json", coco_ids(sorted(folder.iterdir()), ("a", "b"), None)
    results = model().predict(folder)
    with pytest.raises(KeyboardInterrupt), CocoResults(path, "boxes", ids, JOB) as written:
        written.write(results[0])
        with pytest.raises(RunError, match=r"found\.json\.part is being written by another process"):
            CocoResults(path, "boxes", ids, JOB)
        raise KeyboardInterrupt
    for job, branch in (
        ({**JOB, "model": "ba9876543210"}, "boxes"),
        ({**JOB, "annotations": "x"}, "boxes"),
        (JOB, "b"),
    ):
        with pytest.raises(RunError, match=r"found\.json\.part was made with other options"):
            CocoResults(path, branch, ids, job)
    with CocoResults(path, "boxes", ids, JOB) as written:
        for result in results[1:]:
            written.write(result)
    assert len(json.loads(path.read_text())) == 3
    assert [file.name for file in tmp_path.iterdir() if "found" in file.name] == ["found.json"]


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    with CocoResults(tmp_path / "none.json", "boxes", CocoIds({}, None), JOB):
        pass
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_which_branch() -> None:
    assert coco_branch(model("bright", "boxes").info, None) == "boxes"
    assert coco_branch(model("boxes", "corners").info, "corners") == "corners"
    with pytest.raises(ConfigError, match="--branch boxes or --branch corners"):
        coco_branch(model("boxes", "corners", "paint").info, None)
    with pytest.raises(ConfigError, match="unknown branch with COCO results 'bright'"):
        coco_branch(model("boxes", "bright").info, "bright")
    assert coco_branch(model("paint").info, None) == "paint"
    with pytest.raises(ConfigError, match="this model has none"):
        coco_branch(model("bright").info, None)
