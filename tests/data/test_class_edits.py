"""Merged, dropped and ignored classes of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_edits import class_edits
from vertebra.annotations.table import Annotations
from vertebra.config import Config
from vertebra.data.open import open_data
from vertebra.data.open_datasets import open_split
from vertebra.errors import DataError

Make = Callable[..., Path]


def farm() -> Annotations:
    """Two images: Dog, puppy, cat and blur in the first, cat in the second."""
    builder = AnnotationBuilder(Path("farm"), Path("farm.json"))
    first, second = builder.image("a.png"), builder.image("b.png")
    for left, name in enumerate(("Dog", "puppy", "cat", "blur")):
        builder.object(first, name, box=(left, 0, left + 1, 1))
    builder.object(second, "cat", box=(0, 0, 5, 5))
    builder.label(first, "Dog")
    builder.label(second, "blur")
    return builder.build()


def test_merged_dropped_and_ignored_classes() -> None:
    changed = class_edits({"dog": ["Dog", "puppy"]}, drop=["cat"], ignore=["blur"]).apply(farm())
    assert changed.category_names == ("dog",)
    assert changed.objects.rows.tolist() == [0, 0, 0] and changed.objects.boxes[:, 0].tolist() == [0, 1, 3]
    assert changed.objects.crowd.tolist() == [False, False, True]
    assert changed.labels.tolist() == [[0, 0]] and changed.annotated.tolist() == [True, False]


def test_an_ignored_object_is_crowd_of_every_class() -> None:
    objects = class_edits(None, ignore=["blur"]).apply(farm()).objects
    crowd = objects.crowd
    assert objects.categories[crowd].tolist() == [0, 1, 2] and (objects.boxes[crowd] == [3, 0, 4, 1]).all()
    assert objects.categories[~crowd].tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (class_edits({"dog": "Dgo"}), "farm.json: it has no class 'Dgo'. Did you mean 'Dog'"),
        (class_edits({"dog": ["Dog"]}, drop=["Dog"]), "class 'Dog' is named twice"),
    ],
)
def test_wrong_names_are_refused(edits: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        edits.apply(farm())


def test_class_folders_are_merged_when_they_are_opened(class_folders: Make) -> None:
    root = class_folders({"train/Dog": 2, "train/puppy": 3, "train/cat": 4, "val/cat": 1})
    index = open_data(root, "classify", "train", classes=["cat", "dog"], edits=class_edits({"dog": ["Dog", "puppy"]}))
    values = index.columns["classify"].values  # type: ignore[attr-defined]
    assert index.labels["classify"].classes == ("cat", "dog") and Counter(values.tolist()) == {0: 4, 1: 5}


def test_merged_and_ignored_classes_of_masks(masks: Make) -> None:
    mask = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    root = masks({f"{split}/{name}": mask for split in ("train", "val") for name in "ab"})
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    index = open_data(root, "segment", "train", edits=class_edits({"ground": "road"}, ignore=["car"]))
    assert index.labels["segment"].classes == ("sky", "ground")
    assert index.columns["segment"].get(0, (2, 2)).mask.tolist() == [[0, 1], [255, 1]]


def test_the_options_of_a_source_in_a_config(class_folders: Make) -> None:
    root = class_folders({"train/Dog": 4, "train/puppy": 4, "train/cat": 8, "val/cat": 1})
    source = {"path": str(root), "classes": {"dog": ["Dog", "puppy"]}, "fraction": 0.5, "balance": "classes"}
    model = {"backbone": {"name": "test_resnet", "pretrained": False}, "decoder": "linear"}
    config = Config.from_raw({"data": {"train": [source]}, "model": model}, "config")
    opened = open_split(config, "train")
    assert opened.labels["classify"].classes == ("dog", "cat") and len(opened.sources[0].index) == 8
    assert opened.sources[0].balance
    with pytest.raises(DataError, match="has no class 'puppies'. Did you mean 'puppy'"):
        wrong = {**source, "classes": {"dog": "puppies"}}
        open_split(Config.from_raw({"data": {"train": [wrong]}, "model": model}, "config"), "train")
