"""Losses of pixels: what counts, and by how much."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vertebra.losses.segmentation import exclusive_terms, overlapping_terms, pixel_binary_cross_entropy

IGNORE = 255


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
    terms = exclusive_terms(logits, torch.full((1, 4, 4), IGNORE), IGNORE)
    total = terms["cross_entropy"].mean() + terms["dice"].mean()
    total.backward()
    assert float(total.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_dice_of_exclusive_classes_equals_the_formula() -> None:
    logits, masks = torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7))
    masks[0, 0] = IGNORE
    term = exclusive_terms(logits, masks, IGNORE)["dice"]
    counted = (masks != IGNORE)[:, None]
    truth = torch.stack([masks == index for index in range(3)], 1).float()
    guess = logits.softmax(1) * counted
    loss = -(2 * (guess * truth).sum((2, 3)) / (guess.sum((2, 3)) + truth.sum((2, 3)))).log()
    torch.testing.assert_close(term.mean(), loss.mean(), rtol=1e-3, atol=0)
