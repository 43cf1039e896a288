"""A small model is trained from the outputs of a larger one, for each task."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vertebra
from vertebra.config import TrainConfig
from vertebra.decoders import DECODERS, AnyDecoder
from vertebra.demo.animals import ANIMALS
from vertebra.errors import ConfigError, RunError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.model import VisionModel
from vertebra.testing.synthetic import fake_features, fake_labels, fake_targets
from vertebra.training import execution
from vertebra.training.run import resume_run
from vertebra.training.teacher import open_teacher
from vertebra.weights.header import read_header
from vertebra.weights.model_file import write

SPEC = FeatureSpec((Level(16, 8), Level(16, 16), Level(16, 32)), embedding=None)
CANVAS = (64, 48)
OPTIONS: dict[str, dict[str, Any]] = {
    "linear": {"dropout": 0.0}, "attention_pool": {"dropout": 0.0}, "fcn": {"dropout": 0.0, "auxiliary": 0.0},
    "faster_rcnn": {"hidden": [32], "samples": 32}, "heatmap": {"on_boxes": True}, "simcc": {}, "regression": {},
    "retinanet": {}, "fcos": {}, "yolox": {}, "tood": {}, "ssd": {},
    "roi_head": {"dropout": 0.0},
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
            weight.add_(0.1 * torch.randn_like(weight))
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = distillation(student, teacher, features)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1e-5 and losses[-1] < 0.9 * losses[0]
    assert all(weight.grad is None for weight in teacher.parameters())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teachers of several kinds, untrained."""
    folder = tmp_path_factory.mktemp("teachers")
    for name, options in TEACHERS.items():
        write(student_like(**options), folder / f"{name}.safetensors")
    return folder


TEACHERS: dict[str, dict[str, Any]] = {
    "classify": {"decoder": "linear"},
    "boxes": {"neck": {"name": "fpn", "extra_levels": 0}, "decoder": "retinanet"},
    "queries": {"decoder": {"name": "detr", "embed_dim": 32, "layers": 1, "queries": 4}},
    "points": {"decoder": "simcc", "labels": {"points": ["nose", "tail"], "flip_pairs": []}},
}


def student_like(**options: Any) -> VisionModel:
    return vertebra.create_model(
        "mobilenetv3_small_050", **{"image_size": 64, "resize": "letterbox", "classes": ["cat", "dog"], **options}
    )


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "the canvas": ("classify", {"image_size": 96}, r"image_size 64x64, and this model 96x96; set train.image_size"),
    "resizing": ("classify", {"resize": "resize"}, "resize letterbox, and this model resize; set train.resize"),
    "the range": ("classify", {"scale": 255}, "set train.scale"),
    "the branch": ("classify", {"decoder": "upsample"}, "has the branches classify, and this model segment"),
    "the classes": ("classify", {"classes": ["dog", "cat"]}, r"cat, dog \(2\), and this model's dog, cat \(2\)"),
    "the points": (
        "points",
        {"labels": {"points": ["nose", "ear"], "flip_pairs": []}},
        r"points nose, tail \(2\), and this model's nose, ear",
    ),
    "several classes": ("classify", {"multilabel": True}, "has multilabel False, and this model's True"),
    "the decoder": ("boxes", {"decoder": "fcos"}, "the teacher's decoder is RetinaNet, whose outputs"),
    "the head": ("points", {"decoder": "heatmap"}, "the teacher's decoder is SimCC, and this one Heatmap"),
    "the levels": ("boxes", {"neck": {"name": "fpn", "extra_levels": 1}}, "with the same options here too"),
    "queries": ("queries", {}, "the decoder DETR cannot be trained from a teacher"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_teacher_that_does_not_fit_is_refused(folder: Path, case: str) -> None:
    name, changes, message = WRONG[case]
    recipe = TrainConfig(teacher=str(folder / f"{name}.safetensors"))
    with pytest.raises(ConfigError, match=r"^train\.teacher \(--teacher\) .*" + message):
        open_teacher(recipe, student_like(**{**TEACHERS[name], **changes}))


def test_the_decoders_of_classes_and_of_pixels_may_differ(folder: Path, tmp_path: Path) -> None:
    teacher = open_teacher(
        TrainConfig(teacher=str(folder / "classify.safetensors")), student_like(decoder="attention_pool")
    )
    assert teacher is not None and teacher.branches == ["classify"] and teacher.weight == 1
    path = write(student_like(decoder="upsample"), tmp_path / "segment.safetensors")
    assert open_teacher(TrainConfig(teacher=str(path)), student_like(decoder="lraspp")) is not None


def test_options_without_effect_and_missing_files_are_refused(scenes: Path, tmp_path: Path) -> None:
    raw = {"data": str(scenes / "animals"), "model": {"backbone": "mobilenetv2_035", "decoder": "linear"}}
    with pytest.raises(ConfigError, match="teacher_weight has no effect without a teacher"):
        vertebra.train({**raw, "train": {"teacher_weight": 2.0}}, out=tmp_path / "run")
    with pytest.raises(RunError, match=r"train\.teacher \(--teacher\): .*nowhere: no such run folder or model file"):
        vertebra.train({**raw, "train": {"teacher": str(tmp_path / "nowhere")}}, out=tmp_path / "run")


def test_three_tasks_are_trained_from_one_run(
    three_branches: dict, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = copy.deepcopy(three_branches)
    raw["model"]["backbone"] = "mobilenetv3_small_050"
    raw["model"]["branches"]["more"] = {"decoder": "linear", "classes": raw["model"]["branches"]["animal"]["classes"]}
    raw["data"]["train"][0]["branches"] = ["animal", "more"]
    del raw["train"]["image_size"]
    raw["train"] |= {"epochs": 1, "batch_size": 12, "accumulate": 2, "teacher": str(finished), "teacher_weight": 0.5}
    run = Path(vertebra.train(raw, out=tmp_path / "run"))
    stderr = capsys.readouterr().err
    assert "teacher: mobilenetv2_035" in stderr and "animal, boxes, regions too, with weight 0.5" in stderr
    assert "teacher: none of its branches is named more" in stderr
    row = next(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert all(float(row[f"train/{name}/distillation"]) > 0 for name in ("animal", "boxes", "regions"))
    assert "train/more/distillation" not in row
    header, names = read_header(run / "model.safetensors")
    recorded = header["provenance"]["training"]["teacher"]
    assert recorded["name"] == finished.name and recorded["backbone"] == "mobilenetv2_035" and recorded["weight"] == 0.5
    assert str(finished.parent) not in json.dumps(header) and header["preprocess"]["size"] == [48, 64]
    assert set(names) == set(vertebra.load(run).state_dict())


def test_a_resumed_run_equals_and_needs_the_same_teacher(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)
    teacher = tmp_path / "home" / "teacher.safetensors"
    write(student_like(decoder="linear", classes=list(ANIMALS), image_size=(48, 64)), teacher)
    recipe = {"batch_size": 6, "workers": 0, "precision": "32", "lr_schedule": "constant", "warmup": 0, "ema": None}
    raw = {"data": str(scenes / "animals"), "model": {"backbone": "mobilenetv2_035", "decoder": "linear"}}
    recipe["teacher"] = str(teacher)
    whole, part, home = tmp_path / "whole", tmp_path / "home" / "run", tmp_path / "moved"
    vertebra.train({**raw, "train": {**recipe, "epochs": 2}}, out=whole)
    vertebra.train({**raw, "train": {**recipe, "epochs": 1}}, out=part)
    (tmp_path / "home").rename(home)
    other, run, teacher = home / "other.safetensors", home / "run", home / "teacher.safetensors"
    teacher.rename(other)
    with pytest.raises(RunError, match=r"no such run folder or model file; a run with a teacher needs its file, also"):
        resume_run(run, train={"epochs": 2})
    write(student_like(decoder="linear", classes=list(ANIMALS), image_size=(48, 64)), teacher)
    with pytest.raises(RunError, match="began with another teacher, or its file has changed since"):
        resume_run(run, train={"epochs": 2})
    with pytest.raises(RunError, match="the run has a teacher, which cannot be left out"):
        resume_run(run, train={"epochs": 2, "teacher": None})
    other.replace(teacher)
    resume_run(run, train={"epochs": 2})
    states = [torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (whole, run)]
    assert set(states[0]) == set(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    with pytest.raises(RunError, match=r"train\.teacher_weight .* cannot change"):
        resume_run(run, train={"epochs": 3, "teacher_weight": 2.0})
