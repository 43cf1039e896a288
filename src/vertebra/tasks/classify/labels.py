"""Labels of whole images."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class ClassifyLabels(LabelSpec):
    """Classes of whole images.

    Attributes:
        multilabel: False: each image has exactly one class (softmax). True: any set of classes (sigmoid).
    """

    multilabel: bool = False
