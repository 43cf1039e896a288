"""The facts about a model that prediction, evaluation and export need; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.thresholds import ClassThresholds

if TYPE_CHECKING:
    from vertebra.model import VisionModel


class ModelInfo(NamedTuple):
    """The facts about a model that its users need: its preprocessing and its branches.

    Attributes:
        resize_spec: how an image is resized onto the canvas.
        channels: of the images.
        branches: by name, the task's name and the label specification.
        whole: names of the branches that predict one thing for the whole image (its class, the points of the one object that
            fills it), which a part of the image cannot give.
        thresholds: by branch, minimum scores by class that prediction uses unless the user gives one.
        promises: by branch, what the thresholds keep, see `vertebra.calibration`; a branch whose thresholds promise nothing has
            no entry.
        attributes: the branches that predict attributes of boxes, and the branch that has the boxes of each.
        fixed: why the model takes canvases of one size only ("its backbone is built for 224x224"); empty if it takes any size.
    """

    resize_spec: ResizeSpec
    channels: int
    branches: Mapping[str, tuple[str, LabelSpec]]
    whole: frozenset[str] = frozenset()
    fixed: str = ""
    thresholds: Mapping[str, ClassThresholds] = MappingProxyType({})
    promises: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    attributes: Mapping[str, str] = MappingProxyType({})


def model_info(model: VisionModel) -> ModelInfo:
    """The `ModelInfo` of a model in PyTorch."""
    fixed = model.backbone.fixed_size
    branches = {name: model.branch(name) for name in model.branches}
    return ModelInfo(
        resize_spec=model.resize_spec,
        channels=model.backbone.in_channels,
        branches={name: (branch.task, branch.labels) for name, branch in branches.items()},
        whole=frozenset(
            name
            for name, branch in branches.items()
            if get_task(branch.task).describes_whole_image(branch.decoder.needs is not None)
        ),
        fixed="" if fixed is None else f"its backbone is built for {fixed[0]}x{fixed[1]}",
        thresholds={name: dict(stored) for name, stored in model.thresholds.items()},
        promises={name: dict(promise) for name, promise in model.promises.items()},
        attributes={
            name: branch.boxes_from
            for name, branch in branches.items()
            if branch.boxes_from is not None and get_task(branch.task).of_boxes
        },
    )


def check_probabilities(info: ModelInfo, tile: int | None) -> None:
    """Checks that predictions of a model can keep their probabilities.

    Raises:
        ConfigError: they cannot.
    """
    tasks = [task for task, _ in info.branches.values()]
    if all(get_task(task).from_decoded_with_probabilities is None for task in tasks):
        raise ConfigError(
            f"probabilities: predictions of {', '.join(dict.fromkeys(tasks))} have all their scores; leave it out"
        )
    if tile is not None:
        raise ConfigError("probabilities: tiles keep the classes of pixels only; leave 'tile' or 'probabilities' out")


def check_tiling(info: ModelInfo) -> None:
    """Checks that a model can run on tiles.

    Raises:
        ConfigError: it cannot.
    """
    if info.whole >= set(info.branches):
        raise ConfigError(
            "tiles need a branch that finds objects or regions; each branch of this model predicts one thing for the whole "
            "image. Leave out 'tile'"
        )
    if info.resize_spec.mode == "center_crop":
        raise ConfigError("this model crops the center of each image, so tiles would leave gaps. Leave out 'tile'")
