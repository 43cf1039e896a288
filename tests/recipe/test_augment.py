"""Augmentation as data: a preset, with options over it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import vertebra
from vertebra.config import Config, TrainConfig, override
from vertebra.errors import ConfigError, UnknownName
from vertebra.recipe.augment import GEOMETRY, MIXING, PRESETS, PROBABILITIES, Augment
from vertebra.recipe.augment_effect import (
    IMAGE_LEVEL_ONLY,
    LOCATED_ONLY,
    MIXABLE,
    RGB_ONLY,
    SWITCHES,
    check_effect,
)

RAW = {"data": "somewhere", "model": {"backbone": "test_resnet", "decoder": "linear"}}


def augment(value: Any) -> Augment:
    part = Config.from_raw({**RAW, "train": {"augment": value}}).train.augment
    return Augment.from_options("default" if part.name == "auto" else part.name, part.options)


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
        ({"rotate": 200}, ConfigError, "'train.augment.rotate' must be from 0 to 180, got 200"),
        ({"perspective": 0.5}, ConfigError, "'train.augment.perspective' must be from 0 to 0.15, got 0.5"),
        ({"mosaic": 1.5}, ConfigError, "'train.augment.mosaic' must be from 0 to 1, got 1.5"),
        ({"mixup_alpha": 0}, ConfigError, "'train.augment.mixup_alpha' must be above 0, got 0"),
        (
            {"blur_sigma": [2, 1]},
            ConfigError,
            "'train.augment.blur_sigma' must be two numbers above 0, the smaller one",
        ),
        ({"jpeg_quality": [0, 90]}, ConfigError, "'train.augment.jpeg_quality' must be two numbers from 1 to 100"),
        ({"mosaic_center": [0.2, 1.2]}, ConfigError, "'train.augment.mosaic_center' must be two numbers from 0 to 1"),
        (3, ConfigError, "'train.augment' must be a mapping"),
    ],
)
def test_wrong_values(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        augment(value)
    assert TrainConfig().augment.name == "auto"


def refused(options: dict[str, Any], preset: str = "default", **data: Any) -> str:
    """The message that the options have no effect on data of a kind; empty if they have."""
    kind: dict[str, Any] = {"image_level": True, "located": True, "boxes": True, "mixable": MIXING, "channels": 3}
    try:
        check_effect(options, Augment.from_options(preset, options), **{**kind, **data})
    except ConfigError as error:
        return str(error)
    return ""


def test_an_option_without_effect_is_refused() -> None:
    assert not refused({"crop_area": [0.5, 1], "scale": [1, 2], "hue": 0})
    message = refused({"crop_area": [0.5, 1]}, image_level=False)
    assert "'train.augment.crop_area' has no effect: " in message and "here act: scale, stretch" in message
    message = refused({"stretch": 1.5}, located=False)
    assert "'train.augment.stretch' has no effect: " in message and "here act: crop_area, crop_ratio" in message
    assert "RGB images, and these have channels: 1" in refused({"hue": 0.1}, channels=1)
    assert "RGB and gray images, and these have channels: 4" in refused({"jpeg": 0.1}, channels=4)
    assert not refused({"jpeg": 0.1}, channels=1)
    assert "one channel" in refused({"channel_shuffle": 0.1}, channels=1)
    assert "'train.augment.iou_crop' has no effect: it is for images with boxes" in refused(
        {"iou_crop": 1}, boxes=False
    )
    message = refused({"mosaic": 0.5}, mixable={"mixup", "cutmix"})
    assert "boxes, masks or points and no class. Leave it out; here act: mixup, cutmix" in message
    assert refused({"mixup": 0.5}, mixable=()).endswith("neither masks nor points. Leave it out")


@pytest.mark.parametrize(("name", "switches"), SWITCHES.items())
def test_an_option_of_an_operation_that_is_off_is_refused(name: str, switches: tuple[str, ...]) -> None:
    value = getattr(Augment(), name)
    options = {name: list(value) if isinstance(value, tuple) else value}
    assert f"'train.augment.{name}' has no effect while " in refused(options, preset="none")
    assert not refused({**options, switches[0]: 0.1}, preset="none")


def test_the_options_that_need_others_are_known() -> None:
    names = {field.name for field in fields(Augment)}
    switches = {switch for those in SWITCHES.values() for switch in those}
    assert {
        *SWITCHES,
        *switches,
        *MIXING,
        *GEOMETRY,
        *PROBABILITIES,
        *IMAGE_LEVEL_ONLY,
        *LOCATED_ONLY,
        *RGB_ONLY,
    } == names
    assert set(MIXABLE) == set(MIXING)


def test_training_refuses_it_before_it_begins(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'train.augment.scale' has no effect"):
        vertebra.train(
            data=str(scenes / "animals"),
            model={"backbone": "test_resnet", "decoder": "linear"},
            train={"epochs": 1, "image_size": 32, "workers": 0, "augment": {"scale": [0.5, 2]}},
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
