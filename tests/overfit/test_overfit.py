"""Every decoder learns four real photographs by heart: the whole way from files to metrics, and nothing may stand in it. Some do
each day, others the next; ``make matrix`` runs them all."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import vertebra
from tests.daily_sample import daily_sample
from tests.resolved import resolved_train
from vertebra.data.batches import Batch, collate
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.evaluation.measure import Evaluation
from vertebra.model_info import model_info
from vertebra.parts import describe
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.lr_schedule import Cosine, lr_factor
from vertebra.testing.matrix import single_decoders
from vertebra.training.optimizers import make_optimizer
from vertebra.training.parameter_groups import parameter_groups

EACH_DAY = 3
WEIGHTS = "weights/mobilenet_v2_imagenet1k_torchvision_keys.safetensors"


class Task(NamedTuple):
    folder: str
    size: tuple[int, int]
    metric: str
    goal: float


TASKS = {
    "classify": Task("classification/cats_dogs_subset", (96, 96), "accuracy", 1.0),
    "detect": Task("detection/bccd", (128, 160), "map_50", 0.95),
    "rotated_boxes": Task("detection/coco_mini_yolo/instance_polygons", (128, 160), "map_50", 0.9),
    "segment": Task("segmentation/camvid", (128, 160), "mean_iou", 0.9),
    "keypoints": Task("keypoints/openfield_mouse", (128, 160), "pck", 0.95),
}


class Settings(NamedTuple):
    """What stands before a decoder, and how long and how fast it learns."""

    parts: dict[str, Any]
    steps: int
    lr: float
    output_stride: int | None = None


DEFAULT = {
    "classify": Settings({}, 15, 1e-3),
    "detect": Settings({"neck": {"name": "fpn", "channels": 64}}, 70, 2e-3),
    "rotated_boxes": Settings({"neck": {"name": "fpn", "channels": 64}}, 130, 2e-3),
    "segment": Settings({}, 80, 3e-3),
    "keypoints": Settings({}, 100, 2e-3),
}
OWN = {
    "fcos": Settings({"neck": {"name": "fpn", "channels": 64}}, 110, 2e-3),
    "regression": Settings({}, 120, 1e-3),
    "ssd": Settings({"neck": "ssd_extra"}, 70, 2e-3),
    "ssdlite": Settings({"neck": "ssd_extra"}, 70, 2e-3),
    "detr": Settings({}, 250, 5e-4),
    "deeplabv3": Settings({"encoder": "aspp"}, 80, 3e-3, output_stride=8),
    "deeplabv3plus": Settings({"encoder": "aspp"}, 80, 3e-3),
    "fcn": Settings({}, 80, 3e-3, output_stride=8),
    "pspnet": Settings({}, 80, 3e-3, output_stride=8),
}


# they learn drawn shapes in tests/decoders/test_mask_queries.py; photographs take them minutes
ON_DRAWINGS = ("mask2former", "mask2former_instances", "maskformer")


@lru_cache(maxsize=4)
def opened(assets: Path, task: str) -> Index:
    ignore = {"ignore_index": 11} if task == "segment" else {}
    return open_data(assets / TASKS[task].folder, task, "train", **ignore)


def labels_of(assets: Path, task: str) -> Any:
    """The data set's labels; of CamVid the classes of large regions, which decoders of any stride can draw."""
    labels = opened(assets, task).labels[task]
    if task != "segment":
        return labels
    return dataclasses.replace(labels, classes=tuple(labels.classes[index] for index in (0, 1, 3, 5)))


@lru_cache(maxsize=4)
def four_images(assets: Path, task: str) -> Batch:
    """Four images with their truths: of different classes for classification, with a few boxes that are not tiny for
    detection."""
    index = opened(assets, task)
    labels = {"only": labels_of(assets, task)}
    data = MixedData([Source(index, {"only": task})], labels, ResizeSpec(TASKS[task].size, "resize"), None)
    rows = list(range(len(index)))
    if task in ("detect", "rotated_boxes"):
        sizes = [(480, 640)] * len(rows) if task == "detect" else index.columns[task].annotated.sizes.tolist()
        found = [index.columns[task].get(row, tuple(size)) for row, size in zip(rows, sizes, strict=True)]
        sides = [(truth.boxes[:, 2:] - truth.boxes[:, :2]).min(initial=1e3) for truth in found]
        rows = [row for row in rows if sides[row] >= 40 and 2 <= len(found[row].labels) <= 5]
    elif task == "classify":
        rows = [0, len(rows) // 3, 2 * len(rows) // 3, len(rows) - 1]
    else:
        rows = np.linspace(0, len(rows) - 1, 4).astype(int).tolist()
    return collate([data[SampleKey(0, row)] for row in rows[:4]], labels)


def build(assets: Path, task: str, decoder: str, settings: Settings) -> Any:
    labels = labels_of(assets, task)
    backbone: dict[str, Any] = {"name": "mobilenetv2_100", "pretrained": str(assets / WEIGHTS), "frozen_norm": True}
    if settings.output_stride is not None:
        backbone["output_stride"] = settings.output_stride
    own = {name: getattr(labels, name) for name in labels.own_fields() if getattr(labels, name)}
    branch = {"decoder": decoder, "classes": list(labels.classes), "task": task, **own, **settings.parts}
    return vertebra.create_model(backbone, branches={"only": branch}, image_size=TASKS[task].size, resize="resize")


@pytest.mark.parametrize(
    "decoder", daily_sample([name for name in single_decoders() if name not in ON_DRAWINGS], EACH_DAY)
)
def test_four_images_by_heart(assets: Path, decoder: str) -> None:
    task = describe("decoder", decoder).task
    assert task is not None
    settings = OWN.get(decoder, DEFAULT[task])
    batch = four_images(assets, task)
    torch.manual_seed(0)
    model = build(assets, task, decoder, settings)
    targets = {name: (own.rows, own.targets) for name, own in batch.targets.items()}
    parameters = [value for value in model.parameters() if value.requires_grad]
    recipe = resolved_train(lr=settings.lr, weight_decay=1e-4)
    optimizer = make_optimizer(parameter_groups(model.backbone, model, recipe, pretrained=True), recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, settings.steps, 0.1, Cosine()))
    model.train()
    for _ in range(settings.steps):
        terms, _ = model.loss(batch.images, batch.sizes, targets)
        loss = torch.stack([term.mean() for term in terms["only"].values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
    evaluation = Evaluation(model_info(model.eval()))
    evaluation.update(batch, model)
    score = evaluation.compute()[f"only/{TASKS[task].metric}"]
    assert score >= TASKS[task].goal, f"{decoder}: {TASKS[task].metric} {score:.3f} after {settings.steps} steps"
