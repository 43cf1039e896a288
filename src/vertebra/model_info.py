"""The description of a model that predicting with it needs; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.base import LabelSpec


class ModelInfo(NamedTuple):
    """The description of a model that predicting with it needs: its canvas and its branches.

    Attributes:
        resize_spec: how images are resized to the canvas.
        channels: number of channels of the images.
        branches: task name and label specification, by name.
        whole: names of the branches with one prediction for the whole image (its class, the points of a single object), which
            cannot be predicted from tiles.
        fixed: why the model has one canvas size only ("the backbone is built for 224x224"); empty if it takes any.
    """

    resize_spec: ResizeSpec
    channels: int
    branches: Mapping[str, tuple[str, LabelSpec]]
    whole: frozenset[str] = frozenset()
    fixed: str = ""


def check_tiling(info: ModelInfo) -> None:
    """Checks that a model can predict on tiles.

    Raises:
        ConfigError: it cannot.
    """
    if info.whole >= set(info.branches):
        raise ConfigError(
            "tiles are for models that locate objects or regions; each branch of this one predicts for the image as a "
            "whole. Leave out 'tile'"
        )
    if info.resize_spec.mode == "center_crop":
        raise ConfigError("this model crops the center of its input, so tiles would leave gaps. Leave out 'tile'")
