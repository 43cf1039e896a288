"""Masks drawn into boxes: equal to those of pixel-wise sampling and of torchvision, quick, and small in memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from vertebra.annotations.run_lengths import Region
from vertebra.tasks.instances.cells import covered_shares, resampled_mask
from vertebra.tasks.instances.paste import pasted_region


def blob(seed: int, cells: int = 28) -> np.ndarray:
    """A smooth random mask."""
    noise = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (cells, cells), mode="bicubic")[0, 0].sigmoid().numpy()


def sampled(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask at the center of each pixel, 0 outside of the box."""
    x = ((np.arange(size[1]) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1)[None].repeat(size[0], axis=0)
    y = ((np.arange(size[0]) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1)[:, None].repeat(size[1], axis=1)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))[None]
    return F.grid_sample(torch.from_numpy(mask)[None, None].double(), grid, align_corners=False)[0, 0].numpy()


BOXES = [(10.3, 5.2, 40.9, 33.3), (-12.0, -7.5, 30.0, 61.0), (20, 20, 22.4, 21.3), (0, 0, 64, 48), (50, 40, 90, 70.5)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("cells", [28, 5])
def test_equal_to_sampling_each_pixel(box: tuple[float, ...], cells: int) -> None:
    for seed in range(6):
        mask, corners = blob(seed, cells), np.array(box)
        expected = sampled(mask, corners, (48, 64))
        drawn = pasted_region(mask, corners, (48, 64)).mask()
        clear = np.abs(expected - 0.5) > 1e-6
        np.testing.assert_array_equal(drawn[clear], expected[clear] > 0.5)


@pytest.mark.parametrize("box", BOXES)
def test_whole_pixels_as_torchvision(box: tuple[float, ...]) -> None:
    for seed in range(6):
        mask = blob(seed)
        expected = paste_masks_in_image(torch.from_numpy(mask)[None, None], torch.tensor([box]), (48, 64))[0, 0].numpy()
        drawn = pasted_region(mask, np.array(box, dtype=np.float32), (48, 64), whole_pixels=True).mask()
        clear = np.abs(expected - 0.5) > 1e-5
        np.testing.assert_array_equal(drawn[clear], expected[clear] > 0.5)


def test_no_object_beside_the_image_or_in_an_empty_box() -> None:
    full = np.ones((28, 28), dtype=np.float32)
    for box in ((100, 10, 120, 30), (-30, -30, -2, -2), (5, 5, 5, 9)):
        assert pasted_region(full, np.array(box, dtype=np.float32), (48, 64)).area == 0
    assert pasted_region(np.zeros((28, 28)), np.array([4, 4, 30, 30]), (48, 64)).area == 0
    assert pasted_region(full, np.array([4.0, 4, 30, 30]), (48, 64)).bounds() == (4, 4, 30, 30)


def test_a_mask_survives_cells_and_paste() -> None:
    y, x = np.mgrid[:200, :200]
    for side in (12, 30, 90):
        disc = ((x - 100) / side) ** 2 + ((y - 90) / (0.7 * side)) ** 2 < 0.25
        region = Region.of(disc)
        shares = covered_shares(region, 28) / 255
        drawn = pasted_region(shares, np.array(region.bounds()), (200, 200)).mask()
        assert (drawn & disc).sum() / (drawn | disc).sum() > 0.97


def test_small_objects_keep_their_size() -> None:
    y, x = np.mgrid[:64, :64] + 0.5
    draw = np.random.default_rng(0)
    ious: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(30):
        disc = np.hypot(x - draw.uniform(20, 40), y - draw.uniform(20, 40)) < 5
        region = Region.of(disc)
        for whole_pixels, values in ious.items():
            box = np.array(region.bounds(), dtype=np.float32)
            drawn = pasted_region(covered_shares(region, 28) / 255, box, (64, 64), whole_pixels=whole_pixels).mask()
            values.append(float((drawn & disc).sum() / (drawn | disc).sum()))
    assert np.mean(ious[False]) > 0.98 and 0.75 < np.mean(ious[True]) < 0.9


def test_many_objects_of_a_large_image_are_quick_and_small() -> None:
    draw = np.random.default_rng(0)
    corners = draw.uniform(0, (3000, 2000), (100, 2))
    boxes = np.concatenate([corners, corners + draw.uniform(100, 1000, (100, 2))], axis=1)
    drawn = [blob(seed) for seed in range(100)]
    times = []
    for _ in range(3):
        start = time.process_time()
        for mask, box in zip(drawn, boxes, strict=True):
            pasted_region(mask, box, (3000, 4000)).to_coco()
        times.append(time.process_time() - start)
    tracemalloc.start()
    kept = [pasted_region(mask, box, (3000, 4000)) for mask, box in zip(drawn, boxes, strict=True)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) == 100 and peak < 20e6
    assert min(times) < 0.2


def test_resampled_to_its_own_box_and_to_a_part_of_it() -> None:
    mask, box = blob(3), np.array([10.0, 20, 50, 60])
    np.testing.assert_allclose(resampled_mask(mask, box, box), mask, atol=1e-6)
    half = resampled_mask(mask, box, np.array([10.0, 20, 30, 60]))
    np.testing.assert_allclose(half[:, 1::2].mean(), mask[:, :14].mean(), atol=0.03)
    assert not resampled_mask(mask, box, np.array([100.0, 100, 120, 120])).any()
