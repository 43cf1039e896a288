"""Changes of the pixels alone: colors, blur, noise and JPEG artifacts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vertebra.data.augmentation.blur import blurred
from vertebra.data.augmentation.camera import degraded
from vertebra.data.augmentation.colors import changed_colors
from vertebra.data.augmentation.jpeg import compressed
from vertebra.data.augmentation.noise import noisy
from vertebra.data.transforms import augment_onto
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks.detect.annotation import DetectAnnotation

STILL = Augment.preset("none")


def image(channels: int = 3) -> np.ndarray:
    """A smooth picture with an edge."""
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    planes = [80 + x + channel * y // 3 + 60 * (x > 30) for channel in range(channels)]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_blur_smooths_the_edge_and_keeps_the_mean(channels: int) -> None:
    plain = image(channels)
    for sigma in (0.5, 1.0, 2.0):
        result = blurred(plain, sigma)
        assert result.shape == plain.shape and result.dtype == np.uint8
        assert abs(result.mean() - plain.mean()) < 0.6
        step = np.diff(result[24, :, 0].astype(int)).max()
        expected = 1 + 60 / (sigma * np.sqrt(2 * np.pi))  # the slope of a blurred edge in its middle
        assert step == pytest.approx(expected, rel=0.25)


def test_noise_has_its_level_and_no_bias() -> None:
    plain = np.full((200, 200, 2), 128, dtype=np.uint8)
    result = noisy(plain, 8.0, np.random.default_rng(0)).astype(float) - 128
    assert result.std() == pytest.approx(8, rel=0.02) and abs(result.mean()) < 0.1
    assert abs(np.corrcoef(result[..., 0].ravel(), result[..., 1].ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(noisy(plain, 8.0, np.random.default_rng(0)), result + 128)
    assert (noisy(np.full((9, 9, 1), 255, np.uint8), 30, np.random.default_rng(0)) > 100).all(), "clipped, not wrapped"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lower_quality_is_further_from_the_image(channels: int) -> None:
    plain = image(channels)
    errors = [np.abs(compressed(plain, quality).astype(int) - plain).mean() for quality in (5, 40, 95)]
    assert compressed(plain, 40).shape == plain.shape and errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize("option", ["blur", "noise", "jpeg"])
def test_each_has_its_probability(option: str) -> None:
    plain, draw = image(), np.random.default_rng(0)
    augment = replace(STILL, **{option: 0.3})
    changed = sum(degraded(plain, augment, draw) is not plain for _ in range(200))
    assert 40 < changed < 80
    assert degraded(plain, STILL, draw) is plain


def test_jpeg_is_left_out_where_it_is_not_defined() -> None:
    plain = image(4)
    assert degraded(plain, replace(STILL, jpeg=1.0), np.random.default_rng(0)) is plain


def test_the_valid_pixels_change_and_the_fill_does_not() -> None:
    nothing = DetectAnnotation(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    augment = replace(STILL, blur=1.0, blur_sigma=(3.0, 3.0), noise=1.0, jpeg=1.0)
    result = augment_onto(image(), {"boxes": nothing}, ResizeSpec((64, 64)), {}, augment, np.random.default_rng(0))
    assert (result.image[:, 48:] == torch.tensor([124, 116, 104])[:, None, None]).all()
    assert (result.image[:, :48].permute(1, 2, 0).numpy() != image()).mean() > 0.5


def test_color_changes_have_their_probability() -> None:
    plain, draw = image(), np.random.default_rng(0)
    augment = replace(STILL, brightness=0.5, color_probability=0.25)
    assert 20 < sum(not np.array_equal(changed_colors(plain, augment, draw), plain) for _ in range(160)) < 60
    assert changed_colors(plain, STILL, draw) is plain


def test_shuffled_channels_are_the_same_channels() -> None:
    plain, draw = image(), np.random.default_rng(0)
    augment = replace(STILL, channel_shuffle=1.0)
    orders = set()
    for _ in range(40):
        result = changed_colors(plain, augment, draw)
        order = tuple(
            channel for row in range(3) for channel in range(3) if np.array_equal(result[..., row], plain[..., channel])
        )
        assert sorted(order) == [0, 1, 2]
        orders.add(order)
    assert len(orders) == 6


def test_all_of_it_repeats_with_its_seed() -> None:
    nothing = DetectAnnotation(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    augment = replace(Augment.preset("strong"), blur=1.0, noise=1.0, jpeg=1.0, rotate=20.0, channel_shuffle=0.5)
    results = [
        augment_onto(image(), {"boxes": nothing}, ResizeSpec((64, 64)), {}, augment, np.random.default_rng(seed)).image
        for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
