"""Which losses a segmentation decoder learns by, and their sum."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vertebra.errors import ConfigError
from vertebra.losses.segmentation import exclusive_terms, overlapping_terms
from vertebra.losses.term import Term
from vertebra.tasks.segment.labels import SegmentLabels


@dataclass(frozen=True)
class SegmentLoss:
    """The losses of a segmentation decoder: a weight for each, 0 leaves it out.

    Attributes:
        cross_entropy: softmax for exclusive classes, sigmoid for others.
        dice: the logarithmic Dice loss.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in NAMES}
        wrong = [name for name, weight in weights.items() if weight < 0]
        if wrong:
            raise ConfigError(f"'loss.{wrong[0]}' must be 0 or more, got {weights[wrong[0]]}")
        if not any(weights.values()):
            raise ConfigError("'loss' needs at least one loss with a weight above 0")

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the losses that are not left out."""
        return tuple(name for name in NAMES if getattr(self, name) > 0)

    def check(self, labels: SegmentLabels) -> None:
        """Raises `ConfigError` where an option does not fit the labels."""

    def __call__(self, logits: Tensor, masks: Tensor, labels: SegmentLabels) -> dict[str, Term]:
        """The losses by name, each times its weight.

        Args:
            logits: (N, K, H, W) float32.
            masks: (N, H, W) class ids for exclusive classes, (N, K, H, W) of 0, 1 and the ignore index for others.
        """
        terms = exclusive_terms if labels.exclusive else overlapping_terms
        every = terms(logits, masks, labels.ignore_index)
        return {name: weighted(every[name], getattr(self, name)) for name in self.terms}

    def auxiliary(self, logits: Tensor, masks: Tensor, labels: SegmentLabels, weight: float) -> Term:
        """The cross entropy of an auxiliary head, times its weight."""
        terms = exclusive_terms if labels.exclusive else overlapping_terms
        return weighted(terms(logits, masks, labels.ignore_index)["cross_entropy"], weight)


NAMES = tuple(field.name for field in fields(SegmentLoss) if field.name in ("cross_entropy", "dice"))
DEFAULT_LOSS = SegmentLoss()


def weighted(term: Term, weight: float) -> Term:
    """A term whose sum is multiplied by a weight."""
    return term if weight == 1 else Term(torch.mul(term.sum, weight), term.count)
