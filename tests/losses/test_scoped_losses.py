"""Losses under a label scope: no gradient of what is not annotated; with all classes they are the ordinary ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vertebra.losses.classification import binary_cross_entropy
from vertebra.losses.detection import focal_term
from vertebra.losses.distribution import quality_score_loss
from vertebra.losses.hard_negative_mining import mined_class_term
from vertebra.losses.objectness import overlap_score_term
from vertebra.losses.proposals import region_class_term
from vertebra.losses.queries import exclusive_query_errors, query_errors
from vertebra.losses.scope import exclusive_cross_entropy
from vertebra.losses.segmentation_loss import SegmentLoss
from vertebra.matching.iou import Match, without_unknown
from vertebra.tasks.segment.labels import SegmentLabels

Loss = Callable[[Tensor, Tensor | None], Tensor]
CLASSES = 4
LABELS = torch.tensor([[0, 0, 1, 0, 3], [2, 0, 0, 3, 0]])
POSITIVE = torch.tensor([[True, False, True, False, True], [True, False, False, True, False]])
IGNORED = torch.tensor([[False, False, False, True, False]] * 2)
QUALITY = torch.where(POSITIVE, 0.7, 0.0)
BOXES = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
SCOPE = torch.tensor([[True, True, False, False], [True] * 4])  # of the third class nothing, of the fourth an object

SIGMOID: dict[str, Loss] = {
    "focal": lambda logits, scope: focal_term(logits, LABELS, POSITIVE, IGNORED, scope).sum,
    "quality": lambda logits, scope: quality_score_loss(logits, LABELS, QUALITY, POSITIVE, scope).sum(),
    "overlap": lambda logits, scope: overlap_score_term(logits, LABELS, QUALITY, POSITIVE, scope).sum,
    "queries": lambda logits, scope: (
        query_errors(logits, BOXES, LABELS, BOXES, POSITIVE, ~IGNORED, scope).classification
    ),
}
SOFTMAX: dict[str, Loss] = {
    "mined": lambda logits, scope: mined_class_term(logits, LABELS, POSITIVE, IGNORED, 3.0, scope).sum,
    "regions": lambda logits, scope: (
        region_class_term(logits, torch.where(POSITIVE, LABELS, CLASSES), ~IGNORED, scope).sum
    ),
    "queries": lambda logits, scope: (
        exclusive_query_errors(logits, BOXES, LABELS, BOXES, POSITIVE, scope, none_weight=0.1)[0].classification
    ),
}
CASES = [*((name, loss, CLASSES) for name, loss in SIGMOID.items())]
CASES += [(f"exclusive {name}", loss, CLASSES + 1) for name, loss in SOFTMAX.items()]


def gradient(loss: Loss, logits: Tensor, scope: Tensor | None) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, scope)
    value.backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all()
    return value.detach(), leaf.grad


@pytest.mark.parametrize(("name", "loss", "width"), CASES, ids=[case[0] for case in CASES])
def test_no_gradient_outside_of_the_scope(name: str, loss: Loss, width: int) -> None:
    logits = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(0))
    _, slope = gradient(loss, logits, SCOPE)
    assert (slope[0, :, 2] == 0).all(), "a class that is not annotated"
    rows = torch.tensor([0, 1, 2, 3])
    assert (slope[0, rows, 3] == 0).all() and slope[0, 4, 3] != 0, "its object counts, what is no object does not"
    assert (slope[0, 0, :2] != 0).all() and (slope[1, 0, :4] != 0).all()
    moved = logits.clone()
    moved[0, :4, 2:4] += torch.randn(4, 2)
    if width == CLASSES:
        torch.testing.assert_close(loss(moved, SCOPE), loss(logits, SCOPE))
    whole, ordinary = (gradient(loss, logits, scope) for scope in (torch.ones(2, CLASSES).bool(), None))
    torch.testing.assert_close(whole, ordinary)


def test_none_of_the_annotated_classes_by_hand() -> None:
    """Classes a, b and none with shares 1/2, 1/4, 1/4; b is not annotated. None: -log(1/4 + 1/4); a: -log(1/2)."""
    logits = torch.tensor([[[0.5, 0.25, 0.25]] * 2]).log()
    losses = exclusive_cross_entropy(logits, torch.tensor([[2, 0]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(losses, torch.full((1, 2), 0.5).log().neg())


def test_objectness_has_no_negatives_in_a_partial_image() -> None:
    match = Match(POSITIVE, IGNORED, LABELS)
    changed = without_unknown(match, SCOPE)
    assert changed.ignored.tolist() == [[False, True, False, True, False], IGNORED[1].tolist()]
    assert without_unknown(match, None) is match


def test_classes_of_images() -> None:
    logits, labels = torch.randn(2, 4), torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    known = torch.tensor([[True, False, False, True], [True] * 4])
    _, slope = gradient(lambda leaf, scope: binary_cross_entropy(leaf, labels, 0.1, scope).sum, logits, known)
    assert (slope[0, 1:3] == 0).all() and (slope[0, [0, 3]] != 0).all() and (slope[1] != 0).all()
    term = binary_cross_entropy(logits, labels, 0.1, known)
    assert term.count == 1.5, "half of an image, and a whole one"
    for mine, ordinary in zip(
        binary_cross_entropy(logits, labels, 0.1, torch.ones(2, 4).bool()),
        binary_cross_entropy(logits, labels, 0.1),
        strict=True,
    ):
        torch.testing.assert_close(mine, ordinary)


PIXELS = SegmentLoss(focal=1.0, lovasz=1.0, boundary=1.0, label_smoothing=0.1, class_weights=(1.0, 2.0, 1.0, 0.5))
EXCLUSIVE = SegmentLabels(("background", "a", "b", "c"))


def pixel_loss(masks: Tensor, losses: SegmentLoss = PIXELS) -> Loss:
    def loss(logits: Tensor, scope: Tensor | None) -> Tensor:
        terms = losses(logits, masks, EXCLUSIVE, scope)
        return torch.stack([term.mean() for term in terms.values()]).sum()

    return loss


def test_pixels_of_exclusive_classes() -> None:
    masks = torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    masks[:, 0] = EXCLUSIVE.ignore_index
    partial = masks.clone()
    partial[0][(masks[0] != 1) & (masks[0] != 255)] = EXCLUSIVE.unannotated  # only class 1 is annotated
    scope = torch.tensor([[False, True, False, False], [True] * 4])
    _, slope = gradient(pixel_loss(partial), logits, scope)
    assert (slope[0, [0, 2, 3]] == 0).all() and (slope[0, 1, 1:] != 0).all() and (slope[:, :, 0] == 0).all()
    plain = SegmentLoss(focal=1.0, lovasz=1.0, boundary=1.0)
    both = [gradient(pixel_loss(masks, plain), logits, each) for each in (torch.ones(2, 4).bool(), None)]
    torch.testing.assert_close(*both)


def test_a_pixel_of_no_annotated_class_by_hand() -> None:
    """Shares 1/8, 1/2, 1/4 and 1/8 at a pixel that is not class 1: -log(1 - 1/2)."""
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log().reshape(1, 4, 1, 1)
    scope = torch.tensor([[False, True, False, False]])
    loss = SegmentLoss(dice=0.0)(logits, torch.full((1, 1, 1), EXCLUSIVE.unannotated), EXCLUSIVE, scope)
    torch.testing.assert_close(loss["cross_entropy"].mean(), torch.tensor(2.0).log())
