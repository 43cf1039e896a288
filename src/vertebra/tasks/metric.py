"""The base class of all tasks' metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.distributed as distributed
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from vertebra.tasks.base import LabelSpec


class TaskMetric(Metric):  # type: ignore[misc]
    """Compares predictions with annotations, over any number of batches and processes.

    ``update`` takes predictions and annotations of the same images; ``compute`` returns plain numbers by name, gathered
    over all processes; ``reset`` clears them. An undefined number (of a class that does not occur) is left out.

    Args:
        labels: the classes.

    Attributes:
        lower_is_better: the metrics for which smaller is better; this includes ``metric/NAME`` of a class or point.
        meanings: what the metrics measure, in a sentence each, for reports.
    """

    full_state_update = False
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    meanings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, labels: LabelSpec) -> None:
        super().__init__(dist_sync_fn=gather_over_processes)
        self.classes = labels.classes

    def reset(self) -> None:
        """Clears all states. The empty update lets a process without images take part in gathering."""
        super().reset()
        self.update([], [])

    @abstractmethod
    def update(self, predictions: Sequence[Any], ground_truths: Sequence[Any]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""

    def update_true_boxes(self, decoded: Any, targets: Any) -> None:
        """Adds what a branch that reads boxes predicts on the annotated boxes; by default nothing.

        Args:
            decoded: the task's decoded outputs of some images.
            targets: the targets of these images, whose boxes were read.
        """
        return

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all metrics that `compute` can return."""

    def directions(self) -> dict[str, bool]:
        """For each of `names`, whether smaller values are better."""
        return {name: name.partition("/")[0] in self.lower_is_better for name in self.names()}

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far, by name."""


def named(prefix: str, classes: Sequence[str], values: Sequence[float], known: Sequence[bool]) -> dict[str, float]:
    """One entry ``prefix/class`` for each class with a known value."""
    return {f"{prefix}/{name}": float(value) for name, value, k in zip(classes, values, known, strict=True) if k}


def each(prefix: str, names: Sequence[str]) -> list[str]:
    """The names ``prefix/NAME``."""
    return [f"{prefix}/{name}" for name in names]


def gathered(state: list[Tensor] | Tensor) -> Tensor:
    """All rows of a list state, on the CPU: a list of tensors, or one tensor after gathering over processes."""
    return (state if isinstance(state, Tensor) else torch.cat(state)).cpu()


def gather_over_processes(values: Tensor, group: Any = None) -> list[Tensor]:
    """A tensor of each process, in their order; NCCL, which GPUs use, exchanges no tensors of the CPU, where metrics are."""
    on_gpu = str(distributed.get_backend(group)) == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else values.device
    return [part.to(values.device) for part in gather_all_tensors(values.to(device), group)]
