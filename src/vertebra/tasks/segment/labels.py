"""Labels of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.errors import ConfigError
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class SegmentLabels(LabelSpec):
    """Classes of pixels.

    Attributes:
        multilabel: False: each pixel is of one class (softmax). True: each class has a mask of its own, so classes may
            overlap and a pixel may be of none (sigmoid); this is also the form of one class against the rest.
        ignore_index: mask value of pixels that count neither in the loss nor in the metrics.
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
    def background_classes(self) -> tuple[str, ...]:
        """Classes that are called "background"."""
        return tuple(filter(is_background, self.classes))


def is_background(name: str) -> bool:
    """Whether a class is, by its name, what no object covers."""
    return name.strip("_ ").casefold() == "background"
