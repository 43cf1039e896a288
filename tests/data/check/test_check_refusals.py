"""What training would refuse, or be spoiled by, is an error of ``vertebra data check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.data.check.report import DataReport
from vertebra.data.check.run import check_data
from vertebra.errors import DataError, UnknownName

Make = Callable[..., Path]


def errors(report: DataReport) -> list[tuple[str, str]]:
    """(kind, message) of the errors, those of a split with its name before the message."""
    own = [(one.kind, f"{name}: {one.message}") for name, split in report.splits.items() for one in split.findings
           if one.severity == "error"]  # fmt: skip
    return own + [(one.kind, one.message) for one in report.findings if one.severity == "error"]


def coco_splits(root: Path, draw: Make, annotations: dict[str, list[dict[str, Any]]], **category: Any) -> Path:
    """A COCO folder with three images a split; annotations have image_id 0 to 2."""
    for split, given in annotations.items():
        names = [f"{split}{number}.png" for number in range(3)]
        for name in names:
            draw(root / name)
        images = [{"id": place, "file_name": name, "height": 24, "width": 32} for place, name in enumerate(names)]
        content = {
            "images": images,
            "annotations": [{"id": place, "category_id": 1, "iscrowd": 0, **one} for place, one in enumerate(given)],
            "categories": [{"id": 1, "name": "dog", **category}],
        }
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


BOX = {"image_id": 0, "bbox": [2, 2, 12, 12]}


def test_a_validation_split_with_nothing_to_find(tmp_path: Path, draw_image: Make) -> None:
    report = check_data(coco_splits(tmp_path, draw_image, {"train": [BOX], "val": []}), "detect")
    nothing = "none of its 3 images has anything that counts for task detect: nothing to measure by"
    assert errors(report) == [("nothing", f"val: {nothing}")] and not report.sound
    crowds = coco_splits(tmp_path / "crowds", draw_image, {"train": [BOX], "val": [{**BOX, "iscrowd": 1}]})
    ((kind, message),) = errors(check_data(crowds, "detect"))
    assert kind == "refused" and "val.json: 1 of its 1 annotations cannot be used" in message
    train = coco_splits(tmp_path / "train", draw_image, {"train": [], "val": [BOX]})
    assert errors(check_data(train, "detect"))[0][1].endswith("nothing to learn from")


def test_training_does_without_a_test_split(tmp_path: Path, draw_image: Make) -> None:
    report = check_data(coco_splits(tmp_path, draw_image, {"train": [BOX], "val": [BOX], "test": []}), "detect")
    (finding,) = [one for one in report.splits["test"].findings if one.kind == "nothing"]
    assert report.sound and finding.severity == "warning"


def test_points_that_nobody_labeled_are_nothing_to_find(tmp_path: Path, draw_image: Make) -> None:
    blind, seen = ({**BOX, "keypoints": [4, 4, seen, 9, 9, seen]} for seen in (0, 2))
    points = ["left_eye", "right_eye"]
    root = coco_splits(tmp_path, draw_image, {"train": [seen], "val": [blind]}, keypoints=points)
    (error,) = errors(check_data(root, "keypoints"))
    assert (
        error[0] == "refused" and error[1].startswith("val: ") and "1 of its 1 annotations cannot be used" in error[1]
    )


def test_a_split_that_is_missing(class_folders: Make) -> None:
    root = class_folders({"test/cat": 2, "test/dog": 2})
    report = check_data(root, "classify")
    assert [kind for kind, _ in errors(report)] == ["refused", "refused"]
    assert "there is no split 'train'; there is: test" in report.text()
    with pytest.raises(DataError, match="no split 'val'"):
        check_data(root, "classify", split="val")


def test_values_of_no_class_and_the_index_that_cures_it(masks: Make) -> None:
    given = {f"{split}/{n}": np.full((24, 32), n, dtype=np.uint8) for split in ("train", "val") for n in (0, 1, 7)}
    root = masks(given)
    (root / "classes.txt").write_text("sky\nroad\n")
    (first, second) = errors(check_data(root, "segment"))
    assert first[0] == second[0] == "refused" and "value 7 of no class" in first[1] and first[1].startswith("train: ")
    report = check_data(root, "segment", ignore_index=7)
    assert report.sound and report.splits["train"].classes == {"segment": {"sky": 1, "road": 1}}


def test_masks_that_are_ignored_whole(masks: Make) -> None:
    root = masks({f"{split}/{n}": np.full((24, 32), n, dtype=np.uint8) for split in ("train", "val") for n in (0, 1)})
    for mask in (root / "masks" / "val").iterdir():
        Image.fromarray(np.full((24, 32), 255, dtype=np.uint8)).save(mask)
    (error,) = errors(check_data(root, "segment"))
    assert error == (
        "nothing",
        "val: none of its 2 images has anything that counts for task segment: nothing to measure by",
    )


def test_other_splits_are_read_by_the_classes_of_train(tmp_path: Path, draw_image: Make) -> None:
    """As in a run, whose classes are those of train."""
    root = coco_splits(tmp_path, draw_image, {"train": [BOX], "val": [BOX]})
    other = json.loads((root / "val.json").read_text())
    other["categories"] = [{"id": 1, "name": "cow"}]
    (root / "val.json").write_text(json.dumps(other))
    (error,) = errors(check_data(root, "detect"))
    assert error[0] == "refused" and "val: " in error[1] and "(cow) is among those asked for (dog)" in error[1]
    other["categories"].append({"id": 2, "name": "dog"})
    other["annotations"].append({**BOX, "id": 9, "category_id": 2})
    (root / "val.json").write_text(json.dumps(other))
    report = check_data(root, "detect")
    assert report.sound and report.splits["val"].classes == {"detect": {"dog": 1}}
    assert "1 object of classes that are not listed was left out: cow" in report.text()


def test_what_is_no_data_set_for_the_task_is_bad_input(tmp_path: Path, class_folders: Make) -> None:
    root = class_folders({"train/cat": 2, "val/cat": 1})
    for arguments, kind in (
        ((root, "detect"), DataError),
        ((root, "clasify"), UnknownName),
        ((tmp_path / "no", "detect"), DataError),
    ):
        with pytest.raises(kind):
            check_data(*arguments)
    with pytest.raises(UnknownName):
        check_data(root, "classify", format="image_foldr")


def test_the_seed_draws_the_splits_as_training_does(class_folders: Make) -> None:
    from vertebra.data.open import open_data

    root = class_folders({"cat": 10, "dog": 10})
    shown = {seed: check_data(root, "classify", seed=seed).splits["val"].classes["classify"] for seed in range(6)}
    for seed, classes in shown.items():
        values = open_data(root, "classify", "val", seed=seed).columns["classify"].values  # type: ignore[attr-defined]
        assert list(classes.values()) == np.bincount(values, minlength=2).tolist()


def test_pairs_are_proposed_once(tmp_path: Path, draw_image: Make) -> None:
    seen = {**BOX, "keypoints": [4, 4, 2, 9, 9, 2, 12, 5, 2]}
    points = ["left_eye", "right_eye", "kp1"]
    report = check_data(
        coco_splits(tmp_path, draw_image, {"train": [seen], "val": [seen]}, keypoints=points), "keypoints"
    )
    (advice,) = [finding for finding in report.findings if finding.kind == "advice"]
    assert report.sound and advice.severity == "warning"
    assert "undecided: kp1;" in advice.message and advice.message.endswith("flip_pairs: [[0, 1]]")
