"""Labels of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class SegmentLabels(LabelSpec):
    """Classes of pixels.

    Attributes:
        multilabel: False: each pixel has one class (softmax). True: each class has its own mask, so classes may overlap and a
            pixel may have none (sigmoid); also for a single foreground class.
        ignore_index: mask value of pixels that are left out of the loss and the metrics.
    """

    multilabel: bool = False
    ignore_index: int = 255

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 <= self.ignore_index < self.class_count:
            raise ConfigError(
                f"ignore_index {self.ignore_index} is the id of class '{self.classes[self.ignore_index]}'; choose another"
            )

    @property
    def unannotated(self) -> int:
        """The mask value of pixels of no annotated class, see `vertebra.tasks.segment.scope`; neither a class nor ignored."""
        return unannotated_value(self.class_count, self.ignore_index)

    @property
    def background_classes(self) -> tuple[str, ...]:
        """Classes named "background"."""
        return tuple(filter(is_background, self.classes))


def unannotated_value(class_count: int, ignore_index: int) -> int:
    """The first mask value that is neither a class nor ignored."""
    return class_count + int(ignore_index == class_count)


def is_background(name: str) -> bool:
    """Whether a class is the background, by its name."""
    return name.strip("_ ").casefold() == "background"
