"""The losses of a segmentation decoder and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from vertebra.errors import ConfigError
from vertebra.losses.boundary import boundary
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.lovasz import lovasz
from vertebra.losses.scoped_segmentation import ScopedPixels, scoped_cross_entropy, scoped_pixels
from vertebra.losses.segmentation import (
    exclusive_dice,
    focal_pixels,
    overlapping_dice,
    pixel_binary_cross_entropy,
    pixel_cross_entropy,
)
from vertebra.tasks.segment.labels import SegmentLabels

NAMES = ("cross_entropy", "dice", "focal", "lovasz", "boundary")


@dataclass(frozen=True)
class SegmentLoss:
    """The losses of a segmentation decoder: a weight for each, 0 leaves it out.

    Attributes:
        cross_entropy: softmax for exclusive classes, sigmoid for others.
        dice: the logarithmic Dice loss.
        focal: cross entropy with less weight on pixels that are already right.
        lovasz: the Lovasz loss, a smooth surrogate of the IoU; it sorts all pixels.
        boundary: the error of the classes' outlines.
        class_weights: weight of each class's pixels in the cross entropy; None: all 1.
        label_smoothing: part of the label that the cross entropy spreads over all classes.
        ohem_fraction: part of a batch's pixels, those with the greatest losses, that the cross entropy uses.
        focal_gamma: exponent of the focal loss; a larger one gives less weight to pixels that are already right.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    focal: float = 0.0
    lovasz: float = 0.0
    boundary: float = 0.0
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    ohem_fraction: float = 1.0
    focal_gamma: float = 2.0

    def __post_init__(self) -> None:
        for name in (*NAMES, "focal_gamma"):
            if getattr(self, name) < 0:
                raise ConfigError(f"'loss.{name}' must be 0 or more, got {getattr(self, name)}")
        if not self.terms:
            raise ConfigError("'loss' needs at least one loss with a weight above 0")
        if not 0 < self.ohem_fraction <= 1:
            raise ConfigError(f"'loss.ohem_fraction' must be above 0 and at most 1, got {self.ohem_fraction}")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"'loss.label_smoothing' must be at least 0 and below 1, got {self.label_smoothing}")
        if self.class_weights is not None and not sum(self.class_weights) > 0 <= min(self.class_weights):
            raise ConfigError(f"'loss.class_weights' must be 0 or more, one of them above, got {self.class_weights}")

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the losses with a weight above 0."""
        return tuple(name for name in NAMES if getattr(self, name) > 0)

    def check(self, labels: SegmentLabels) -> None:
        """Raises `ConfigError` where an option does not fit the labels."""
        if self.class_weights is not None and len(self.class_weights) != labels.class_count:
            raise ConfigError(
                f"'loss.class_weights' must have one weight a class: got {len(self.class_weights)} for {labels.class_count}"
            )

    def __call__(
        self,
        logits: Float[Tensor, "n k h w"],
        masks: Num[Tensor, "n *k h w"],
        labels: SegmentLabels,
        exhaustive: Bool[Tensor, "n k"] | None = None,
    ) -> dict[str, LossTerm]:
        """The losses by name, each times its weight.

        Args:
            logits: (N, K, H, W) float32.
            masks: (N, H, W) class ids for exclusive classes, (N, K, H, W) of 0, 1 and the ignore index for others.
            exhaustive: (N, K) bool of exclusive classes, see `vertebra.losses.scoped_segmentation`; None for all.
        """
        terms = self._compute(logits, masks, labels, self.terms, exhaustive)
        return {name: weighted(terms[name], getattr(self, name)) for name in self.terms}

    def auxiliary(
        self,
        logits: Float[Tensor, "n k h w"],
        masks: Num[Tensor, "n *k h w"],
        labels: SegmentLabels,
        weight: float,
        exhaustive: Bool[Tensor, "n k"] | None = None,
    ) -> LossTerm:
        """The cross entropy of an auxiliary head, times its weight."""
        name = "cross_entropy"
        return weighted(self._compute(logits, masks, labels, (name,), exhaustive)[name], weight)

    def _compute(
        self, logits: Tensor, masks: Tensor, labels: SegmentLabels, names: tuple[str, ...], exhaustive: Tensor | None
    ) -> dict[str, LossTerm]:
        if labels.multilabel:
            return self._sigmoid_terms(logits, masks, labels.ignore_index, names)
        if exhaustive is not None:
            return self._scoped_terms(scoped_pixels(logits, masks, exhaustive, labels.ignore_index), names)
        return self._softmax_terms(logits, masks, labels.ignore_index, names)

    def _options(self, like: Tensor) -> dict[str, Any]:
        """Options of the cross entropy."""
        weights = None if self.class_weights is None else torch.tensor(self.class_weights, device=like.device)
        return {"class_weights": weights, "label_smoothing": self.label_smoothing, "ohem_fraction": self.ohem_fraction}

    def _softmax_terms(
        self, logits: Float[Tensor, "n k h w"], masks: Int[Tensor, "n h w"], ignore: int, names: tuple[str, ...]
    ) -> dict[str, LossTerm]:
        log = logits.log_softmax(dim=1)
        counted = masks != ignore
        classes = torch.where(counted, masks, 0)
        terms: dict[str, LossTerm] = {}
        if "cross_entropy" in names:
            terms["cross_entropy"] = pixel_cross_entropy(log, masks, ignore, **self._options(logits))
        if "focal" in names:
            terms["focal"] = focal_pixels(log.gather(1, classes[:, None])[:, 0], counted, self.focal_gamma)
        if "dice" in names:
            terms["dice"] = exclusive_dice(log, classes, counted)
        if {"lovasz", "boundary"} & set(names):
            ground_truth = F.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2) * counted[:, None]
            terms.update(_shapes(log.exp() * counted[:, None], ground_truth, names))
        return terms

    def _scoped_terms(self, pixels: ScopedPixels, names: tuple[str, ...]) -> dict[str, LossTerm]:
        """The terms of exclusive classes, of which not all are annotated."""
        terms: dict[str, LossTerm] = {}
        if "cross_entropy" in names:
            terms["cross_entropy"] = scoped_cross_entropy(pixels, **self._options(pixels.log_target))
        if "focal" in names:
            terms["focal"] = focal_pixels(pixels.log_target, pixels.counted, self.focal_gamma)
        if "dice" in names:
            terms["dice"] = overlapping_dice(pixels.probabilities, pixels.ground_truth)
        terms.update(_shapes(pixels.probabilities, pixels.ground_truth, names))
        return terms

    def _sigmoid_terms(
        self, logits: Float[Tensor, "n k h w"], masks: Num[Tensor, "n k h w"], ignore: int, names: tuple[str, ...]
    ) -> dict[str, LossTerm]:
        counted = masks != ignore
        ground_truth = torch.where(counted, masks, 0).float()
        terms: dict[str, LossTerm] = {}
        if "cross_entropy" in names:
            terms["cross_entropy"] = pixel_binary_cross_entropy(logits, masks, ignore, **self._options(logits))
        if "focal" in names:
            log = F.logsigmoid(torch.where(ground_truth > 0, logits, -logits))
            terms["focal"] = focal_pixels(log, counted, self.focal_gamma)
        probabilities = logits.sigmoid() * counted
        if "dice" in names:
            terms["dice"] = overlapping_dice(probabilities, ground_truth)
        terms.update(_shapes(probabilities, ground_truth, names))
        return terms


def _shapes(
    probabilities: Float[Tensor, "n k h w"], ground_truth: Num[Tensor, "n k h w"], names: tuple[str, ...]
) -> dict[str, LossTerm]:
    """The losses of whole regions and of their outlines."""
    terms: dict[str, LossTerm] = {}
    if "lovasz" in names:
        terms["lovasz"] = lovasz(probabilities, ground_truth)
    if "boundary" in names:
        terms["boundary"] = boundary(probabilities, ground_truth)
    return terms


DEFAULT_LOSS = SegmentLoss()


def weighted(term: LossTerm, weight: float) -> LossTerm:
    """A term whose sum is multiplied by a weight."""
    return term if weight == 1 else LossTerm(torch.mul(term.sum, weight), term.count)
