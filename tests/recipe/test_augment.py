"""Augmentation as data: a preset, with options over it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vertebra
from vertebra.config import Config, TrainConfig, override
from vertebra.errors import ConfigError, UnknownName
from vertebra.recipe.augment import PRESETS, Augment, check_effect

RAW = {"data": "somewhere", "model": {"backbone": "test_resnet", "decoder": "linear"}}


def augment(value: Any) -> Augment:
    part = Config.from_raw({**RAW, "train": {"augment": value}}).train.augment
    return Augment.from_options(part.name, part.options)


def test_a_name_a_name_with_options_and_options_alone() -> None:
    assert augment("strong") == PRESETS["strong"]
    assert augment({"name": "strong", "hue": 0}) == replace(PRESETS["strong"], hue=0.0)
    assert augment({"vertical_flip": 0.5, "scale": [0.5, 2]}) == Augment(vertical_flip=0.5, scale=(0.5, 2.0))
    assert Augment.preset("none").moves is False


def test_on_the_command_line() -> None:
    raw = override({**RAW, "train": {"augment": "light"}}, ["train.augment.vertical_flip=0.5"])
    part = Config.from_raw(raw).train.augment
    assert (part.name, part.options) == ("light", {"vertical_flip": 0.5})


def test_a_config_is_the_same_after_it_was_written() -> None:
    config = Config.from_raw({**RAW, "train": {"augment": {"name": "strong", "hue": 0}}})
    assert "augment:\n    name: strong\n    hue: 0\n" in config.to_yaml()


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("stron", UnknownName, "unknown augmentation 'stron'. Did you mean 'strong'"),
        ({"vertical_flips": 0.5}, UnknownName, "'train.augment.vertical_flips'.*Did you mean 'vertical_flip'"),
        ({"hue": 0.7}, ConfigError, "'train.augment.hue' must be from 0 to 0.5, got 0.7"),
        ({"hue": True}, ConfigError, "'train.augment.hue' must be a number"),
        ({"scale": [2, 0.5]}, ConfigError, "'train.augment.scale' must be two numbers above 0, the smaller one first"),
        ({"crop_area": 0.5}, ConfigError, "'train.augment.crop_area' must be a list"),
        (3, ConfigError, "'train.augment' must be a mapping"),
    ],
)
def test_wrong_values(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        augment(value)
    assert TrainConfig().augment.name == "default"


def test_an_option_without_effect_is_refused() -> None:
    check_effect({"crop_area": [0.5, 1], "scale": [1, 2], "hue": 0}, image_level=True, located=True, channels=3)
    with pytest.raises(ConfigError, match="'train.augment.crop_area' has no effect: .* here act: scale, stretch"):
        check_effect({"crop_area": [0.5, 1]}, image_level=False, located=True, channels=3)
    with pytest.raises(ConfigError, match="'train.augment.stretch' has no effect: .* here act: crop_area, crop_ratio"):
        check_effect({"stretch": 1.5}, image_level=True, located=False, channels=3)
    with pytest.raises(
        ConfigError, match="'train.augment.hue' has no effect: .*RGB images, and these have channels: 1"
    ):
        check_effect({"hue": 0.1}, image_level=True, located=False, channels=1)


def test_training_refuses_it_before_it_begins(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'train.augment.scale' has no effect"):
        vertebra.train(
            data=str(scenes / "animals"),
            model={"backbone": "test_resnet", "decoder": "linear"},
            train={"epochs": 1, "image_size": 32, "workers": 0, "augment": {"scale": [0.5, 2]}},
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
