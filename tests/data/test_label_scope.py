"""Data sets in which only some classes are annotated: LVIS's lists, `annotated`, and what becomes of them on the way to a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import vertebra
from vertebra.annotations.class_edits import class_edits
from vertebra.annotations.options import ReadOptions
from vertebra.config import Config
from vertebra.data.class_mapping import class_mapping
from vertebra.data.convert import of_classes
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.open_datasets import open_split
from vertebra.data.readers.coco import CocoReader
from vertebra.data.sources import Source
from vertebra.data.writers.base import Target
from vertebra.data.writers.coco import CocoWriter
from vertebra.errors import ConfigError, DataError
from vertebra.tasks import get_task
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.mixing import MosaicTile, Rectangle
from vertebra.training.label_scope import check_scope

Make = Callable[..., Path]
SIZE = (24, 32)
CLASSES = ((7, "dog"), (3, "cat"), (5, "cow"))
BOXES = [
    {"image_id": 10, "category_id": 7, "bbox": [1, 2, 8, 8]},
    {"image_id": 10, "category_id": 3, "bbox": [9, 2, 8, 8]},
    {"image_id": 11, "category_id": 5, "bbox": [1, 2, 8, 8]},
]
OUTLINES = [{**box, "segmentation": [[1, 2, 9, 2, 9, 10, 1, 10]]} for box in BOXES]


def lvis(coco: Make, *lists: dict[str, Any], boxes: list[dict[str, Any]] = BOXES) -> Path:
    """A data set whose images have these lists."""
    path = coco(boxes, images=len(lists), categories=CLASSES, name="annotations/instances_train.json")
    content = json.loads(path.read_text())
    for entry, more in zip(content["images"], lists, strict=True):
        entry.update(more)
    path.write_text(json.dumps(content))
    (path.parent / "instances_val.json").write_text(json.dumps(content))
    return path.parent.parent


def scopes(index: Index, task: str = "detect") -> list[list[int] | None]:
    annotations = [index.columns[task].get(row, SIZE) for row in range(len(index))]
    return [None if each.exhaustive is None else each.exhaustive.astype(int).tolist() for each in annotations]


def test_lists_of_lvis(coco: Make) -> None:
    """Annotated are the classes of an image's objects and its negative ones; with one list alone all but its classes."""
    root = lvis(
        coco,
        {"neg_category_ids": [], "not_exhaustive_category_ids": [3]},
        {"neg_category_ids": [7], "not_exhaustive_category_ids": []},
        {},
        {"not_exhaustive_category_ids": [3]},
    )
    index = open_data(root, "detect", "train")
    assert scopes(index) == [[1, 0, 0], [1, 0, 1], None, [1, 0, 1]]
    assert [len(index.columns["detect"].get(row, SIZE).labels) for row in range(4)] == [2, 1, 0, 0]
    assert "3 images in which not all classes are annotated were read with the classes that are" in str(index.notes[0])
    assert scopes(index.take([2, 1])) == [None, [1, 0, 1]]
    assert scopes(open_data(root, "detect", "train", classes=["cow", "horse", "dog"])) == [
        [0, 0, 1], [1, 0, 1], None, [1, 1, 1],
    ]  # fmt: skip
    merged = open_data(root, "detect", "train", edits=class_edits({"animal": ["dog", "cow"]}, ["cat"]))
    assert scopes(merged) == [[0], [1], None, [1]]


def test_names_of_images_in_lvis(coco: Make) -> None:
    """LVIS has addresses in place of file names."""
    root = lvis(coco, *({"coco_url": f"http://images.cocodataset.org/images/{number}.png"} for number in range(2)))
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        for entry in content["images"]:
            del entry["file_name"]
        file.write_text(json.dumps(content))
    index = open_data(root, "detect", "train")
    assert [index.path(row).name for row in range(2)] == ["0.png", "1.png"] and index.path(1).is_file()


@pytest.mark.parametrize(
    ("value", "message"), [("7", "it is a list of ids"), ([99], "has 99, which is not in the file's")]
)
def test_wrong_lists_are_refused(coco: Make, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"instances_train.json: 'neg_category_ids' of an image.*{message}"):
        open_data(lvis(coco, {"neg_category_ids": value}, {}), "detect", "train")


def test_a_source_in_which_some_classes_are_annotated(coco: Make) -> None:
    index = open_data(lvis(coco, {}, {"not_exhaustive_category_ids": [7]}), "detect", "train", annotated=["dog"])
    assert scopes(index) == [[1, 0, 0], [0, 0, 0]]
    assert index.columns["detect"].get(0, SIZE).labels.tolist() == [0]
    assert "2 objects outside of 'annotated' were left out" in str(index.notes[0])


def test_names_are_those_after_renaming(coco: Make) -> None:
    root = lvis(coco, {}, {})
    options: dict[str, Any] = {"edits": class_edits({"hound": ["dog"]}), "classes": ["hound", "cat", "sheep"]}
    assert scopes(open_data(root, "detect", "train", annotated=["hound", "sheep"], **options)) == [[1, 0, 1]] * 2
    with pytest.raises(DataError, match="'annotated' has 'hond', which is no class. Did you mean 'hound'"):
        open_data(root, "detect", "train", annotated=["hond"], **options)


def test_written_and_read_again(coco: Make, tmp_path: Path) -> None:
    root = lvis(coco, {"neg_category_ids": [5], "not_exhaustive_category_ids": [3]}, {})
    annotations = CocoReader().load(root, "train", ReadOptions())
    (tmp_path / "new").mkdir()
    CocoWriter().write(annotations, Target(tmp_path / "new"))
    again = CocoReader().load(tmp_path / "new", None, ReadOptions())
    assert annotations.scope is not None and again.scope is not None
    for scope in (annotations.scope, again.scope):
        exhaustive = scope.of_image(0, 3)
        assert exhaustive is not None and exhaustive.tolist() == [True, False, True] and scope.of_image(1, 3) is None
    written = json.loads((tmp_path / "new/annotations/instances.json").read_text())["images"]
    chosen = of_classes(annotations, ("cow", "cat")).scope
    assert chosen is not None
    np.testing.assert_array_equal(chosen.of_image(0, 2), [True, False])  # type: ignore[arg-type]
    assert (written[0]["neg_category_ids"], written[0]["not_exhaustive_category_ids"]) == ([5], [3])
    assert "neg_category_ids" not in written[1]


def test_the_branch_has_further_classes(coco: Make) -> None:
    """What a data set does not have is not annotated there, as soon as its classes are listed."""
    index = open_data(lvis(coco, {}, {}), "detect", "train", annotated=["dog", "cow"])
    labels = DetectLabels(("cow", "pig", "dog"))
    mapping, _ = class_mapping(index.labels["detect"], labels, "boxes", "here")
    annotation = mapping(index.columns["detect"].get(0, SIZE))
    assert annotation.exhaustive.tolist() == [True, False, True] and annotation.labels.tolist() == [2]


def test_mixed_images_have_what_is_annotated_in_all(coco: Make) -> None:
    index = open_data(lvis(coco, {"neg_category_ids": [5]}, {"neg_category_ids": [7]}, {}), "detect", "train")
    first, second, whole = (index.columns["detect"].get(row, SIZE) for row in range(3))
    mixing, labels = get_task("detect").mixing, index.labels["detect"]
    assert mixing is not None
    mosaic = mixing.mosaic([MosaicTile(one, 0, 0, SIZE) for one in (first, second, whole)], (64, 64), labels)
    assert mosaic.exhaustive.tolist() == [True, False, True] and len(mosaic.labels) == 3
    assert mixing.mixup(first, whole, 0.5, labels).exhaustive.tolist() == [True, True, True]
    targets = get_task("detect").data.stack([second, whole], labels)
    assert targets.exhaustive.tolist() == [[True, False, True], [True] * 3]
    assert get_task("detect").data.stack([whole], labels).exhaustive is None


def test_overlapping_classes_of_images(coco: Make) -> None:
    """Whether an image has a class is known if it is annotated, and if the image has it."""
    root = lvis(coco, {"neg_category_ids": [5], "not_exhaustive_category_ids": [3]}, {"neg_category_ids": []}, {})
    index = open_data(root, "classify", "train", multilabel=True)
    column, labels = index.columns["classify"], index.labels["classify"]
    first, second, whole = (column.get(row, SIZE) for row in range(3))
    assert first.known.tolist() == [True] * 3 and first.label.tolist() == [1, 1, 0], (
        "of a class that it has, an image may have more"
    )
    assert second.known.tolist() == [False, False, True] and whole.known is None
    mixing = get_task("classify").mixing
    assert mixing is not None
    assert mixing.mixup(first, second, 0.5, labels).known.tolist() == [False, False, True]
    assert get_task("classify").data.stack([first, second], labels).known.tolist() == [[True] * 3, [False, False, True]]


def test_masks_of_overlapping_classes(coco: Make) -> None:
    index = open_data(lvis(coco, {}, {}, boxes=OUTLINES), "segment", "train", multilabel=True, annotated=["dog", "cow"])
    mask = index.columns["segment"].get(0, SIZE).mask
    assert [sorted(np.unique(plane).tolist()) for plane in mask] == [[0, 1], [255], [0]]


def test_masks_of_exclusive_classes(coco: Make) -> None:
    """A pixel of none of the annotated classes has a value of its own, whatever it shows."""
    root = lvis(coco, {}, {}, boxes=OUTLINES)
    index = open_data(root, "segment", "train", annotated=["dog", "cow"])
    labels = index.labels["segment"]
    assert labels.classes == ("background", "dog", "cat", "cow") and labels.unannotated == 4
    dog, cow = (index.columns["segment"].get(row, SIZE) for row in range(2))
    assert dog.exhaustive.tolist() == [False, True, False, True]
    assert np.unique(dog.mask).tolist() == [1, 4] and np.unique(cow.mask).tolist() == [3, 4]
    source = open_data(root, "segment", "train", annotated=["dog"]).columns["segment"].get(0, SIZE)
    mixing = get_task("segment").mixing
    assert mixing is not None
    mixed = mixing.cutmix(cow, source, Rectangle(16, 0, 32, 24), 0.5, labels)
    assert mixed.exhaustive.tolist() == [False, True, False, False]
    assert np.unique(mixed.mask).tolist() == [4], "the cow is no longer annotated, and the dog is on the other half"


def test_masks_of_objects(coco: Make) -> None:
    root = lvis(coco, {"neg_category_ids": [7], "not_exhaustive_category_ids": [3]}, {}, boxes=OUTLINES)
    index = open_data(root, "instances", "train")
    assert scopes(index, "instances") == [[1, 0, 0], None]
    data, labels = get_task("instances").data, index.labels["instances"]
    assert data.partly_annotated(index.columns["instances"]).tolist() == [True, False]
    first, second = (index.columns["instances"].get(row, SIZE) for row in (0, 1))
    mixing = get_task("instances").mixing
    assert mixing is not None
    tiles = [MosaicTile(first, 0, 0, SIZE), MosaicTile(second, 24, 0, SIZE)]
    for mixed in (
        mixing.mosaic(tiles, (48, 32), labels),
        mixing.cutmix(second, first, Rectangle(0, 0, 4, 4), 0.5, labels),
        mixing.copy_paste(second, first, np.random.default_rng(0), labels)[1],
    ):
        assert mixed.exhaustive is not None and mixed.exhaustive.tolist() == [True, False, False]
    assert scopes(open_data(root, "instances", "train", annotated=["cat"]), "instances") == [[0, 0, 0], [0, 1, 0]]


def test_mask_files(masks: Make) -> None:
    """Pixels of other classes are of no annotated class; ignored ones stay ignored."""
    values = np.array([[0, 1, 2, 255]], dtype=np.uint8).repeat(4, axis=0)
    root = masks({"train/a": values, "val/a": values})
    options: dict[str, Any] = {"classes": ["background", "road", "sky"], "annotated": ["road"]}
    exclusive = open_data(root, "segment", "train", **options).columns["segment"].get(0, (4, 4))
    assert exclusive.mask[0].tolist() == [3, 1, 3, 255] and exclusive.exhaustive.tolist() == [False, True, False]
    overlapping = open_data(root, "segment", "train", multilabel=True, **options).columns["segment"].get(0, (4, 4))
    assert overlapping.mask[:, 0].tolist() == [[0, 1, 0, 255], [255] * 4]


@pytest.mark.parametrize(("task", "noun"), [("classify", "classify"), ("keypoints", "keypoints")])
def test_tasks_without_use_for_it(coco: Make, task: str, noun: str) -> None:
    boxes = [{**BOXES[0], "keypoints": [1, 2, 2], "num_keypoints": 1}]
    root = lvis(coco, {"neg_category_ids": []}, boxes=boxes)
    content = json.loads((root / "annotations/instances_train.json").read_text())
    for category in content["categories"]:
        category["keypoints"] = ["nose"]
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    index = open_data(root, task, "train")
    assert any(f"read for task '{noun}' as if all were" in str(note) for note in index.notes)
    with pytest.raises(DataError, match=f"'annotated' is for boxes, masks.*not for this branch of task '{noun}'"):
        open_data(root, task, "train", annotated=["dog"])


def test_in_a_config(coco: Make) -> None:
    root = str(lvis(coco, {}, {}))
    model = {"backbone": "resnet10t", "task": "detect", "decoder": "fcos"}
    config = Config.from_raw({"data": {"train": [{"path": root, "annotated": ["cat"]}]}, "model": model})
    opened = open_split(config, "train")
    assert scopes(opened.sources[0].index) == [[0, 1, 0]] * 2
    with pytest.raises(ConfigError, match="annotated"):
        Config.from_raw({"data": {"train": [{"path": root, "annotated": []}]}, "model": model})


def test_a_decoder_that_cannot_is_refused(coco: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """YOLOX needs an image with all classes; a decoder that does not say that it can handle a scope gets none."""
    root = lvis(coco, {"neg_category_ids": []}, {})
    model = vertebra.create_model("resnet10t", decoder="yolox", classes=["dog", "cat", "cow"], image_size=64)
    mixed, partial = (
        Source(open_data(root, "detect", "train", annotated=listed), {"detect": "detect"}) for listed in (None, ["dog"])
    )
    check_scope(model, [partial, mixed])
    with pytest.raises(ConfigError, match="none of its 2 training images has all classes annotated.* fcos, retinanet"):
        check_scope(model, [partial])
    monkeypatch.setattr(type(model.branch("detect").decoder), "scope_use", "none")
    with pytest.raises(ConfigError, match="in 1 of its training images, and YOLOX takes what is not annotated for"):
        check_scope(model, [mixed])


def test_a_training_on_two_sources(coco: Make, tmp_path: Path) -> None:
    """From the files to the metrics; one source is annotated wholly, of the other one class."""
    root = str(lvis(coco, {}, {"not_exhaustive_category_ids": [7]}, {}))
    run = vertebra.train(
        {
            "data": {
                "train": [{"path": root}, {"path": root, "annotated": ["dog"]}],
                "val": [{"path": root}],
                "check": False,
            },
            "model": {
                "backbone": {"name": "resnet10t", "pretrained": False},
                "task": "detect",
                "neck": "fpn",
                "decoder": "fcos",
            },
            "train": {
                "epochs": 1,
                "batch_size": 6,
                "image_size": 64,
                "workers": 0,
                "augment": {"name": "light", "mosaic": 1.0},
            },
        },
        out=tmp_path / "run",
    )
    config = yaml.safe_load((Path(run) / "config.yaml").read_text())
    assert config["data"]["train"][1]["annotated"] == ["dog"]
    assert np.isfinite(vertebra.evaluate(run, split="val")["detect/map"])
