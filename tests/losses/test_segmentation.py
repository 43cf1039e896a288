"""Losses of pixels: what counts, and by how much."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vertebra.losses.segmentation import dice, pixel_binary_cross_entropy, pixel_cross_entropy, pixel_terms

IGNORE = 255


def test_ignored_pixels_do_not_count() -> None:
    logits = torch.randn(2, 3, 4, 5)
    masks = torch.randint(0, 3, (2, 4, 5))
    masks[0, :2] = IGNORE
    term = pixel_cross_entropy(logits, masks, IGNORE)
    assert float(term.count) == 30
    torch.testing.assert_close(term.mean(), F.cross_entropy(logits, masks, ignore_index=IGNORE))
    changed = logits.clone()
    changed[0, :, :2] += 5 * torch.randn(3, 2, 5)
    for name, other in pixel_terms(changed, masks, IGNORE, exclusive=True).items():
        torch.testing.assert_close(other.sum, pixel_terms(logits, masks, IGNORE, exclusive=True)[name].sum)


def test_overlapping_classes_are_each_for_themselves() -> None:
    logits, masks = torch.randn(2, 3, 4, 5), torch.randint(0, 2, (2, 3, 4, 5))
    term = pixel_binary_cross_entropy(logits, masks, IGNORE)
    torch.testing.assert_close(term.mean(), F.binary_cross_entropy_with_logits(logits, masks.float()))
    masks[:, 1] = IGNORE
    kept = pixel_binary_cross_entropy(logits, masks, IGNORE)
    expected = F.binary_cross_entropy_with_logits(logits[:, [0, 2]], masks[:, [0, 2]].float())
    torch.testing.assert_close(kept.mean(), expected)


@pytest.mark.parametrize(("guess", "loss"), [(1.0, 0.0), (0.0, 1.0), (0.5, 1 - 2 * 400 / (400 + 800))])
def test_dice_by_hand(guess: float, loss: float) -> None:
    truth = torch.ones(1, 1, 20, 40)
    term = dice(torch.full((1, 1, 20, 40), guess), truth, torch.ones(1, 1, 20, 40, dtype=torch.bool))
    assert float(term.mean()) == pytest.approx(loss, abs=2e-3)


def test_a_class_that_is_not_in_the_image_has_no_dice() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    masks[1, :4] = 2
    term = pixel_terms(torch.randn(2, 3, 8, 8), masks, IGNORE, exclusive=True)["dice"]
    assert float(term.count) == 3, "class 0 in both images, class 2 in one"


def test_masks_of_nothing_but_ignored_pixels() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    terms = pixel_terms(logits, torch.full((1, 4, 4), IGNORE), IGNORE, exclusive=True)
    total = terms["cross_entropy"].mean() + terms["dice"].mean()
    total.backward()
    assert float(total.detach()) == 0 and logits.grad is not None and not logits.grad.any()
