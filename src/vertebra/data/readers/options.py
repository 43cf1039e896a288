"""The options of all readers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """How to read a data set.

    Attributes:
        classes: class names in order; None for the data set's own. Annotations of other classes are left out.
        ignore_index: value of mask files whose pixels do not count; None for 255, unless masks hold only 0 and 255.
        seed: of the draw where the data set has no splits.
        multilabel: False: one class an image or pixel; True: classes may overlap.
    """

    classes: tuple[str, ...] | None = None
    ignore_index: int | None = None
    seed: int = 0
    multilabel: bool = False
