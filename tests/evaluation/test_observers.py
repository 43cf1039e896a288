"""What an evaluation hands to its observers: each image once, in order, with the file it is from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.evaluation.observers import MAX_PROBABILITY_BYTES, Diagnoses, Drawings
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.report.example_pictures import enlarged
from vertebra.tasks import TASKS
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.diagnosis import BarChart, Diagnosis
from vertebra.tasks.segment.labels import SegmentLabels

CLASSES = DetectLabels(("cat", "dog"))
INFO = ModelInfo(
    ResizeSpec((64, 64)), 3, {"boxes": ("detect", CLASSES), "regions": ("segment", SegmentLabels(("sky", "ground")))}
)
BOX = (10.0, 12.0, 30.0, 40.0)


class FakeDiagnoser:
    """Its loss is the difference of the numbers of objects."""

    def __init__(self, labels: Any) -> None:
        self.losses: list[float] = []

    def update(self, predictions: Any, ground_truths: Any) -> None:
        self.losses += [
            float(abs(len(prediction) - len(annotation.labels)))
            for prediction, annotation in zip(predictions, ground_truths, strict=True)
        ]

    def compute(self) -> Diagnosis:
        return Diagnosis([BarChart("Objects", {"all": 1.0})], np.array(self.losses), [""] * len(self.losses))


def one(count: int, path: Path) -> tuple[DetectPrediction, DetectAnnotation]:
    """A prediction of so many boxes, and an annotation of one."""
    boxes, ids = np.tile(np.array([BOX], dtype=np.float32), (count, 1)), np.zeros(count, dtype=np.int64)
    annotation = DetectAnnotation(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    return DetectPrediction(boxes, np.ones(count, dtype=np.float32), ids, CLASSES, path), annotation


def test_images_are_diagnosed_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "detect", replace(TASKS["detect"], diagnoser=FakeDiagnoser))
    diagnoses = Diagnoses(INFO)
    for count, name in ((3, "a.png"), (1, "b.png")):
        diagnoses.add("boxes", *one(count, Path(name)), Path(name))
    computed = diagnoses.compute()
    assert diagnoses.paths["boxes"] == [Path("a.png"), Path("b.png")]
    assert computed["boxes"] is not None and computed["boxes"].image_losses.tolist() == [2, 0]
    assert computed["regions"] is None, "it has no image"


def test_probabilities_are_kept_where_there_is_room() -> None:
    needs = Diagnoses(INFO).needs_probabilities
    side = int((MAX_PROBABILITY_BYTES / 8) ** 0.5)
    assert needs("regions", (side, side)) and not needs("regions", (side + 1, side + 1)) and not needs("boxes", (8, 8))
    assert not Diagnoses(INFO, probabilities=False).needs_probabilities("regions", (8, 8))


def test_the_chosen_images_are_drawn(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file in files[:2]:
        Image.new("RGB", (800, 400), (90, 90, 90)).save(file)
    drawings = Drawings(INFO, {"boxes": [files[0], files[2]]}, {"boxes": {files[1]: [BOX]}})
    for file in files:
        drawings.add("boxes", *one(1, file), file)
    assert list(drawings.sides) == [("boxes", files[0])], "the last file is gone"
    assert [side.width for side in drawings.sides["boxes", files[0]]] == [440, 440]
    parts = drawings.objects_drawn["boxes", files[1], BOX]
    assert list(parts) == ["labels", "prediction"] and parts["labels"].size == parts["prediction"].size
    part = np.asarray(parts["labels"]).astype(int)
    assert (np.abs(part - (255, 0, 160)).max(axis=2) < 10).any(), "the object is marked"


def test_an_object_of_a_small_image_is_in_its_picture(tmp_path: Path) -> None:
    picture = Image.new("RGB", (100, 60), (90, 90, 90))
    picture.paste((250, 0, 0), (70, 20, 90, 40))
    picture.save(tmp_path / "a.png")
    box = (70.0, 20.0, 90.0, 40.0)
    drawings = Drawings(INFO, {}, {"boxes": {tmp_path / "a.png": [box]}})
    drawings.add("boxes", *one(1, tmp_path / "a.png"), tmp_path / "a.png")
    for part in drawings.objects_drawn["boxes", tmp_path / "a.png", box].values():
        red = (np.abs(np.asarray(part).astype(int) - (250, 0, 0)).max(axis=2) < 60).mean()
        assert 0.1 < red < 0.25, "the object and a margin of about its size, though drawings of small images are larger"


def test_a_legend_below_a_picture_moves_no_object() -> None:
    drawn = Image.new("RGB", (200, 150))  # of an image of 100 x 60, with a legend of 30 rows
    drawn.paste((250, 0, 0), (140, 80, 180, 120))
    part = np.asarray(enlarged(drawn, 100, (70, 40, 90, 60))).astype(int)
    assert (part[..., 0] > 200).mean() > 0.95


def test_pictures_show_what_a_predictor_keeps(tmp_path: Path) -> None:
    Image.new("RGB", (440, 440), (90, 90, 90)).save(tmp_path / "a.png")
    sides = []
    for thresholds, scores in (({}, [0.2]), ({"boxes": {"cat": 0.6}}, [0.5]), ({}, [0.5])):
        info = INFO._replace(thresholds=thresholds)
        prediction, annotation = one(1, tmp_path / "a.png")
        prediction = replace(prediction, scores=np.array(scores, dtype=np.float32), draw_threshold=0.0)
        drawings = Drawings(info, {"boxes": [tmp_path / "a.png"]}, {})
        drawings.add("boxes", prediction, annotation, tmp_path / "a.png")
        sides.append(np.asarray(drawings.sides["boxes", tmp_path / "a.png"][1]))
    assert [bool((side == 90).all()) for side in sides] == [True, True, False]
