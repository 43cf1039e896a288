"""What must be known of a model to use it; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.base import LabelSpec


class ModelInfo(NamedTuple):
    """What must be known of a model to use it: how images come onto its canvas, and what its branches say.

    Attributes:
        resize_spec: how an image comes onto the canvas.
        channels: of the images.
        branches: by name, the task's name and what the labels mean.
        whole: names of the branches that say one thing of the image as a whole (its class, the points of the one object that
            fills it), which parts of the image could not tell.
        fixed: why the model takes canvases of one size only ("the backbone is built for 224x224"); empty where it takes any.
    """

    resize_spec: ResizeSpec
    channels: int
    branches: Mapping[str, tuple[str, LabelSpec]]
    whole: frozenset[str] = frozenset()
    fixed: str = ""


def check_tiling(info: ModelInfo) -> None:
    """Whether tiles make sense for a model.

    Raises:
        ConfigError: they do not.
    """
    if info.whole >= set(info.branches):
        raise ConfigError(
            "tiles are for models that find something at places of an image; each branch of this one speaks of the image "
            "as a whole. Leave out 'tile'"
        )
    if info.resize_spec.mode == "center_crop":
        raise ConfigError(
            "this model sees a center crop of what it is given, so tiles would leave gaps. Leave out 'tile'"
        )
