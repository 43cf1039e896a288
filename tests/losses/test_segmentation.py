"""Losses of pixels: what counts, and by how much."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vertebra.errors import ConfigError
from vertebra.losses.boundary import boundary, outline
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.lovasz import jaccard_steps, lovasz
from vertebra.losses.segmentation import exclusive_dice, focal_pixels, ohem_pixels, pixel_binary_cross_entropy
from vertebra.losses.segmentation_loss import NAMES, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels

IGNORE = 255
EVERY = dict.fromkeys(NAMES, 1.0)


def exclusive_terms(logits: torch.Tensor, masks: torch.Tensor, ignore: int, **options: object) -> dict[str, LossTerm]:
    labels = SegmentLabels(tuple("abcdef"[: logits.shape[1]]), ignore_index=ignore)
    return SegmentLoss(**options)(logits, masks, labels)  # type: ignore[arg-type]


def overlapping_terms(logits: torch.Tensor, masks: torch.Tensor, ignore: int, **options: object) -> dict[str, LossTerm]:
    labels = SegmentLabels(tuple("abcdef"[: logits.shape[1]]), multilabel=True, ignore_index=ignore)
    return SegmentLoss(**options)(logits, masks, labels)  # type: ignore[arg-type]


def test_ignored_pixels_do_not_count() -> None:
    logits = torch.randn(2, 3, 4, 5)
    masks = torch.randint(0, 3, (2, 4, 5))
    masks[0, :2] = IGNORE
    term = exclusive_terms(logits, masks, IGNORE)["cross_entropy"]
    assert float(term.count) == 30
    torch.testing.assert_close(term.mean(), F.cross_entropy(logits, masks, ignore_index=IGNORE))
    changed = logits.clone()
    changed[0, :, :2] += 5 * torch.randn(3, 2, 5)
    for name, other in exclusive_terms(changed, masks, IGNORE).items():
        torch.testing.assert_close(other.sum, exclusive_terms(logits, masks, IGNORE)[name].sum)


def test_overlapping_classes_are_each_for_themselves() -> None:
    logits, masks = torch.randn(2, 3, 4, 5), torch.randint(0, 2, (2, 3, 4, 5))
    term = pixel_binary_cross_entropy(logits, masks, IGNORE)
    torch.testing.assert_close(term.mean(), F.binary_cross_entropy_with_logits(logits, masks.float()))
    masks[:, 1] = IGNORE
    kept = pixel_binary_cross_entropy(logits, masks, IGNORE)
    expected = F.binary_cross_entropy_with_logits(logits[:, [0, 2]], masks[:, [0, 2]].float())
    torch.testing.assert_close(kept.mean(), expected)


@pytest.mark.parametrize(("guess", "dice"), [(1.0, 1.0), (0.5, 2 * 400 / (400 + 800)), (0.1, 2 * 80 / (80 + 800))])
def test_dice_by_hand(guess: float, dice: float) -> None:
    logits = torch.full((1, 1, 20, 40), guess).logit(eps=1e-6)
    term = overlapping_terms(logits, torch.ones(1, 1, 20, 40, dtype=torch.uint8), IGNORE)["dice"]
    assert float(term.mean()) == pytest.approx(-math.log(dice), abs=1e-4)


def test_a_class_that_was_given_up_still_learns() -> None:
    """At a probability of one in a million the plain Dice loss has lost its gradient; its logarithm has not."""
    logits = torch.zeros(1, 2, 40, 40)
    logits[:, 1] = -14
    logits.requires_grad_(True)
    masks = torch.zeros(1, 40, 40, dtype=torch.int64)
    masks[:, :20] = 1
    exclusive_terms(logits, masks, IGNORE)["dice"].mean().backward()
    assert logits.grad is not None
    assert float(logits.grad[0, 1, :20].sum()) < -0.1


def test_a_class_that_is_not_in_the_image_has_no_dice() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    masks[1, :4] = 2
    term = exclusive_terms(torch.randn(2, 3, 8, 8), masks, IGNORE)["dice"]
    assert float(term.count) == 3, "class 0 in both images, class 2 in one"


def test_masks_of_nothing_but_ignored_pixels() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    terms = exclusive_terms(logits, torch.full((1, 4, 4), IGNORE), IGNORE, **EVERY)
    assert set(terms) == set(NAMES)
    total = torch.stack([term.mean() for term in terms.values()]).sum()
    total.backward()
    assert float(total.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_the_gradient_of_exclusive_dice_is_right_and_keeps_nothing_as_large_as_the_logits() -> None:
    torch.manual_seed(0)
    log = torch.randn(2, 3, 4, 5, dtype=torch.float64).log_softmax(1).requires_grad_()
    masks = torch.randint(0, 3, (2, 4, 5))
    counted = torch.rand(2, 4, 5) > 0.3
    masks[~counted] = 0
    assert torch.autograd.gradcheck(lambda own: exclusive_dice(own, masks, counted).sum, log)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: (kept.append(value), value)[1], lambda value: value):
        exclusive_dice(log, masks, counted)
    assert {value.data_ptr() for value in kept if value.numel() == log.numel()} == {log.data_ptr()}


def test_dice_of_exclusive_classes_equals_the_formula() -> None:
    logits, masks = torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7))
    masks[0, 0] = IGNORE
    term = exclusive_terms(logits, masks, IGNORE)["dice"]
    counted = (masks != IGNORE)[:, None]
    ground_truth = torch.stack([masks == index for index in range(3)], 1).float()
    guess = logits.softmax(1) * counted
    loss = -(2 * (guess * ground_truth).sum((2, 3)) / (guess.sum((2, 3)) + ground_truth.sum((2, 3)))).log()
    torch.testing.assert_close(term.mean(), loss.mean(), rtol=1e-3, atol=0)


def test_class_weights_and_smoothing_are_torchs_own() -> None:
    logits, masks = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    masks[0, :2] = IGNORE
    weights = (1.0, 0.0, 3.5)
    term = exclusive_terms(logits, masks, IGNORE, dice=0.0, class_weights=weights)["cross_entropy"]
    expected = F.cross_entropy(logits, masks, ignore_index=IGNORE, weight=torch.tensor(weights))
    torch.testing.assert_close(term.mean(), expected)
    smooth = exclusive_terms(logits, masks, IGNORE, label_smoothing=0.2)["cross_entropy"]
    torch.testing.assert_close(smooth.mean(), F.cross_entropy(logits, masks, ignore_index=IGNORE, label_smoothing=0.2))


def test_overlapping_classes_may_weigh_differently() -> None:
    logits, masks = torch.randn(1, 2, 3, 3), torch.randint(0, 2, (1, 2, 3, 3))
    term = overlapping_terms(logits, masks, IGNORE, class_weights=(0.0, 2.0))["cross_entropy"]
    torch.testing.assert_close(term.mean(), F.binary_cross_entropy_with_logits(logits[:, 1], masks[:, 1].float()))


def test_the_hardest_pixels_by_hand() -> None:
    losses, weights = torch.tensor([[5.0, 1.0, 0.0], [2.0, 4.0, 3.0]]), torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    half = ohem_pixels(losses, weights, 0.5)  # three of the five that count: 5, 4 and 3
    assert (float(half.sum), float(half.count)) == (12.0, 3.0)
    whole = ohem_pixels(losses, weights, 1.0)
    assert (float(whole.sum), float(whole.count)) == (15.0, 5.0)


def test_focal_loss_by_hand() -> None:
    right = torch.tensor([0.9, 0.5, 0.1]).log()
    term = focal_pixels(right, torch.tensor([True, True, False]), 2.0)
    assert float(term.count) == 2
    expected = 0.1**2 * -math.log(0.9) + 0.5**2 * -math.log(0.5)
    assert float(term.sum) == pytest.approx(expected)
    both = exclusive_terms(torch.randn(1, 3, 2, 2), torch.randint(0, 3, (1, 2, 2)), IGNORE, focal=1.0, focal_gamma=0.0)
    torch.testing.assert_close(both["focal"].mean(), both["cross_entropy"].mean())


def test_focal_loss_of_overlapping_classes() -> None:
    logits, masks = torch.randn(1, 2, 3, 3), torch.randint(0, 2, (1, 2, 3, 3))
    terms = overlapping_terms(logits, masks, IGNORE, focal=1.0, focal_gamma=0.0)
    torch.testing.assert_close(terms["focal"].mean(), terms["cross_entropy"].mean())


def test_jaccard_steps_by_hand() -> None:
    torch.testing.assert_close(jaccard_steps(torch.tensor([1.0, 0, 1])), torch.tensor([1 / 2, 1 / 6, 1 / 3]))


def test_lovasz_of_hard_guesses_is_one_minus_the_iou() -> None:
    ground_truth = torch.tensor([[[[1.0, 1, 1, 0, 0, 0]], [[0.0, 0, 0, 0, 0, 0]]]])
    guess = torch.tensor([[[[1.0, 0, 0, 1, 0, 0]], [[0.0, 0, 0, 0, 0, 1]]]])
    term = lovasz(guess, ground_truth)
    assert float(term.count) == 1, "the second class is not in the image"
    assert float(term.sum) == pytest.approx(1 - 1 / 4)


def test_outlines_by_hand() -> None:
    square = torch.zeros(1, 1, 7, 7)
    square[..., 2:5, 2:5] = 1
    expected = square.clone()
    expected[..., 3, 3] = 0
    torch.testing.assert_close(outline(square), expected)
    assert float(boundary(square, square).mean()) == pytest.approx(0, abs=1e-4)
    far = torch.zeros(1, 1, 7, 7)
    far[..., 6, 6] = 1
    wide = torch.zeros(1, 1, 30, 30)
    wide[..., 2:5, 2:5] = 1
    assert float(boundary(wide.flip(2, 3), wide).mean()) > 0.99
    assert 0.3 < float(boundary(far, square).mean()) <= 1


@pytest.mark.parametrize("multilabel", [False, True])
def test_every_loss_pulls_towards_the_truth(multilabel: bool) -> None:
    masks = torch.zeros(1, 12, 12, dtype=torch.int64)
    masks[:, 3:9, 3:9] = 1
    many = torch.stack([masks == 0, masks == 1], 1).to(torch.uint8)
    for name in NAMES:
        logits = torch.zeros(1, 2, 12, 12)
        logits += 0.1 * torch.randn(1, 2, 12, 12)
        logits.requires_grad_(True)
        only = {other: float(other == name) for other in NAMES}
        terms = exclusive_terms if not multilabel else overlapping_terms
        values = []
        for _ in range(60):
            loss = terms(logits, masks if not multilabel else many, IGNORE, **only)[name].mean()
            (gradient,) = torch.autograd.grad(loss, logits)
            logits = (logits - 20 * gradient).detach().requires_grad_(True)
            values.append(float(loss.detach()))
        assert values[-1] < 0.6 * values[0], f"{name}: {values[0]} to {values[-1]}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cross_entropy": 0.0, "dice": 0.0}, "at least one loss"),
        ({"focal": -1.0}, "'loss.focal' must be 0 or more"),
        ({"ohem_fraction": 0.0}, "'loss.ohem_fraction' must be above 0"),
        ({"label_smoothing": 1.0}, "'loss.label_smoothing'"),
        ({"class_weights": (0.0, 0.0)}, "'loss.class_weights' must be 0 or more"),
        ({"class_weights": (1.0,)}, "one weight a class: got 1 for 2"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SegmentLoss(**options).check(SegmentLabels(("a", "b")))  # type: ignore[arg-type]
