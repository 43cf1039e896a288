"""A transform of the user's own, and images that are mixed, in a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms import v2

import vertebra
from vertebra.config import Config
from vertebra.errors import ConfigError, RunError

OPTIONS = {"epochs": 1, "batch_size": 4, "image_size": [32, 48], "workers": 0, "precision": "32", "ema": None}


def recorded(calls: list[Any]) -> v2.Transform:
    return v2.Compose([v2.Lambda(lambda value: calls.append(value) or value), v2.RandomHorizontalFlip()])


def test_a_transform_trains_and_resumes(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Any] = []
    model = {"backbone": "test_resnet", "decoder": "fcos", "neck": "fpn"}
    run = vertebra.train(
        model=model, data=str(scenes / "boxes"), train=OPTIONS, augment=recorded(calls), out=tmp_path / "run"
    )
    name = "<torchvision.transforms.v2._container.Compose>"
    assert calls and run.config.train.augment.name == name
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count(f"augmentation: {name}, given as an object.") == 1
    with pytest.raises(ConfigError, match="was given as an object, which no file holds; give it again from Python"):
        vertebra.resume(run, epochs=2)
    with pytest.raises(RunError, match=r"train\.augment"):
        vertebra.resume(run, epochs=2, augment=v2.RandomHorizontalFlip())
    before = len(calls)
    vertebra.resume(run, epochs=2, augment=recorded(calls))
    assert len(calls) > before


def test_a_transform_must_be_callable_and_has_no_options() -> None:
    data = {"data": "somewhere", "model": {"backbone": "test_resnet", "decoder": "linear"}}
    with pytest.raises(
        ConfigError, match="must be a preset, by name or with options, or a transform that can be called"
    ):
        vertebra.train({**data, "train": {"augment": object()}})
    with pytest.raises(
        ConfigError, match="or a transform that can be called with an image, got .*RandomHorizontalFlip"
    ):
        vertebra.train(data, augment=v2.RandomHorizontalFlip)
    with pytest.raises(ConfigError, match="a transform that was given as an object has no options"):
        Config.from_raw({**data, "train": {"augment": {"name": "<my.Transform>", "hue": 0}}})


@pytest.mark.parametrize(
    ("folder", "model", "augment"),
    [
        ("animals", {"decoder": "linear"}, {"mixup": 0.5, "cutmix": 0.5}),
        ("boxes", {"decoder": "fcos", "neck": "fpn"}, {"mosaic": 0.5, "mixup": 0.3, "cutmix": 0.3, "iou_crop": 0.5}),
        ("regions", {"decoder": "upsample"}, {"mosaic": 0.4, "cutmix": 0.4, "copy_paste": 0.5, "rotate": 20}),
    ],
)
def test_mixed_images_train_and_repeat(
    scenes: Path, tmp_path: Path, folder: str, model: dict[str, Any], augment: dict[str, Any]
) -> None:
    runs = [
        vertebra.train(
            model={"backbone": "test_resnet", **model},
            data=str(scenes / folder),
            train={**OPTIONS, "augment": {"name": "strong", **augment}},
            out=tmp_path / f"run{number}",
        )
        for number in range(2)
    ]
    losses = [next(value for key, value in run.history[0].items() if key.endswith("loss")) for run in runs]
    assert losses[0] == losses[1] and torch.isfinite(torch.tensor(losses[0]))
