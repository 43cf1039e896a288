"""A small model is trained from the outputs of a larger one, for each task."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vertebra
from vertebra.config import TrainConfig
from vertebra.decoders import DECODERS, AnyDecoder
from vertebra.errors import ConfigError, RunError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.model import VisionModel
from vertebra.testing.synthetic import fake_features, fake_labels, fake_targets
from vertebra.training import execution
from vertebra.training.run import resume_run
from vertebra.training.teacher import open_teacher
from vertebra.weights.model_file import read_header

SPEC = FeatureSpec((Level(16, 8), Level(16, 16), Level(16, 32)), embedding=None)
CANVAS = (64, 48)
OPTIONS: dict[str, dict[str, Any]] = {
    "linear": {"dropout": 0.0}, "attention_pool": {"dropout": 0.0}, "fcn": {"dropout": 0.0, "auxiliary": 0.0},
    "faster_rcnn": {"hidden": [32], "samples": 32}, "heatmap": {"on_boxes": True}, "simcc": {}, "regression": {},
    "retinanet": {}, "fcos": {}, "yolox": {}, "tood": {}, "ssd": {},
}  # fmt: skip


def make_decoder(name: str, multilabel: bool = False) -> AnyDecoder:
    """With biases of random sizes, for scores that a trained model would have."""
    labels = fake_labels(DECODERS[name].task, 2, multilabel)
    decoder = DECODERS[name](SPEC, labels, **OPTIONS[name])
    with torch.no_grad():
        for module in decoder.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.copy_(torch.randn_like(module.bias))
    return decoder


def distillation(student: AnyDecoder, teacher: AnyDecoder, features: Features) -> torch.Tensor:
    """The mean of the distillation term of the outputs that `loss` returns, in training mode."""
    torch.manual_seed(1)
    _, outputs = student.train().loss(features, fake_targets(student.labels, CANVAS))
    return student.distillation(outputs, teacher, features).mean()


@pytest.mark.parametrize(
    ("name", "multilabel"), [*((name, False) for name in OPTIONS), ("linear", True), ("fcn", True)]
)
def test_the_term_is_0_where_the_student_is_the_teacher_and_falls_in_training(name: str, multilabel: bool) -> None:
    student, features = make_decoder(name, multilabel), fake_features(SPEC, CANVAS)
    teacher = copy.deepcopy(student).requires_grad_(False)
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in student.modules()):
        teacher.train()  # the same statistics of the batch, for this comparison
    same = distillation(student, teacher, features)
    same.backward()
    assert abs(float(same.detach())) < 1e-5
    assert max(float(weight.grad.abs().max()) for weight in student.parameters() if weight.grad is not None) < 1e-3
    teacher.eval()
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = distillation(student, teacher, features)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1e-4 and losses[-1] < 0.9 * losses[0]
    assert all(weight.grad is None for weight in teacher.parameters())
