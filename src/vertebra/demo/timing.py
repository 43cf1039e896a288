"""Times one pass of a model with several branches against one model for each result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vertebra.build import build
from vertebra.config import model_config
from vertebra.model import VisionModel


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one image, medians over passes.

    Attributes:
        together: one pass of all branches.
        single: one pass of a model with this branch alone, and with the branch whose boxes it reads; not of a branch whose boxes
            another one reads, since the model of that one has them.
        repeats: number of timed passes.
    """

    together: float
    single: dict[str, float]
    repeats: int

    @property
    def ratio(self) -> float:
        """Speedup of one pass over the single models in sequence."""
        return sum(self.single.values()) / self.together


def needed_branches(model: VisionModel, name: str) -> list[str]:
    """The names of a branch and of the one whose boxes it reads, if there is one."""
    source = model.branch(name).boxes_from
    return [name] if source is None else [source, name]


def single_model(model: VisionModel, name: str) -> VisionModel:
    """A model with `needed_branches` alone, built from the config; its weights do not affect the time."""
    config: dict[str, Any] = dict(model.config or {})
    config["branches"] = {needed: config["branches"][needed] for needed in needed_branches(model, name)}
    return build(
        model_config(config), image_size=model.resize_spec.size, resize=model.resize_spec.mode, pretrained=False
    ).eval()


def one_pass_beside_several(model: VisionModel, repeats: int = 20) -> Timing:
    """Times a model and its single-branch models in turns, so other load on the machine affects all equally."""
    model = model.eval()
    images = torch.zeros(1, model.backbone.in_channels, *model.resize_spec.size, dtype=torch.uint8)  # type: ignore[call-overload]
    sizes = torch.tensor([model.resize_spec.size])
    runs: dict[str, Callable[[], object]] = {"": lambda: model(images, sizes)}
    read = {model.branch(name).boxes_from for name in model.branches}
    for name in (name for name in model.branches if name not in read):
        alone = single_model(model, name)
        runs[name] = lambda alone=alone: alone(images, sizes)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for repeat in range(repeats + 2):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                if repeat >= 2:
                    times[name].append(1000 * (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Timing(medians.pop(""), medians, repeats)
