"""Color changes as one linear map."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from vertebra.data.color_jitter import GRAY, apply_matrix, color_map, hue_rotation, weighted_mean


class Fixed:
    """Gives the same numbers in place of random ones."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def uniform(self, low: float, high: float, count: int) -> tuple[float, ...]:
        return self.numbers


def made_image(channels: int = 3) -> torch.Tensor:
    return torch.randint(60, 160, (channels, 16, 24), dtype=torch.uint8)


def changed(image: torch.Tensor, *numbers: float, options: tuple[float, ...] = (0.2, 0.2, 0.2, 0.1)) -> torch.Tensor:
    pixels = array(image)
    return tensor(color_map(pixels, Fixed(*numbers), *options)(pixels))  # type: ignore[arg-type]


def array(image: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def close(first: torch.Tensor, second: torch.Tensor, most: int = 1) -> bool:
    return bool((first.int() - second.int()).abs().max() <= most)


def test_each_change_is_torchvisions() -> None:
    image = made_image()
    assert close(changed(image, 1, 0, 0, 0), F.adjust_brightness(image, 1.2))
    assert close(changed(image, 0, -1, 0, 0), F.adjust_contrast(image, 0.8))
    assert close(changed(image, 0, 0, 1, 0), F.adjust_saturation(image, 1.2))
    exact = F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(image / 255, 0.9), 1.1), 0.9)
    assert close(changed(image, -0.5, 0.5, -0.5, 0), (255 * exact).round())


def test_hue_rotations_in_a_circle_and_keeps_luma() -> None:
    np.testing.assert_allclose(hue_rotation(1.0), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(hue_rotation(0.3) @ hue_rotation(0.7), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.array(GRAY) @ hue_rotation(0.2), GRAY, atol=1e-3)
    gray = made_image(1).expand(3, -1, -1)
    assert close(tensor(apply_matrix(array(gray), hue_rotation(0.2), 0.0)), gray)


def test_other_numbers_of_channels() -> None:
    gray = made_image(1)
    assert close(changed(gray, 1, 0, 1, 1), F.adjust_brightness(gray, 1.2))
    assert changed(made_image(5), 0.5, 0.5, 1, 1).shape == (5, 16, 24)


def test_random_numbers_do_not_depend_on_the_options() -> None:
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    image = made_image()
    pixels = array(image)
    assert close(tensor(color_map(pixels, first, 0, 0, 0, 0)(pixels)), image)
    assert not close(tensor(color_map(pixels, second, 0.5, 0, 0, 0)(pixels)), image)
    assert first.random() == second.random()


def test_results_are_clipped_not_wrapped() -> None:
    bright = torch.full((3, 2, 2), 250, dtype=torch.uint8)
    assert (changed(bright, 1, 0, 0, 0) == 255).all()


def test_the_mean_has_weights() -> None:
    for weights in (np.array([1.0]), np.array(GRAY), np.array([0.1, 0.2, 0.3, 0.4])):
        pixels = np.random.default_rng(0).integers(0, 256, (300, 500, len(weights)), dtype=np.uint8)
        np.testing.assert_allclose(weighted_mean(pixels, weights), pixels.mean(axis=(0, 1)) @ weights, rtol=1e-6)


def test_rounding_is_to_the_nearest_level() -> None:
    for channels in (1, 3):
        levels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(channels, axis=2)
        result = apply_matrix(levels, 0.7 * np.eye(channels), 10.2)
        exact = 0.7 * np.arange(256)[:, None, None] + 10.2
        assert np.abs(result - exact).max() <= 0.5 + 1e-4 and result.dtype == np.uint8
