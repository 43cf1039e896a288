"""Images that are black, white, flat, blurred, tiny, or of another kind than the rest of their set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.data.analysis.small_images import SmallImage

STATISTICS = np.dtype(
    [
        ("height", np.int32),  # pixels in the file, upright
        ("width", np.int32),
        ("channels", np.uint8),  # in the file
        ("bits", np.uint8),  # of one channel in the file
        ("low", np.float32),  # 1st percentile of the gray values, 0..255
        ("mean", np.float32),
        ("high", np.float32),  # 99th percentile
        ("spread", np.float32),  # standard deviation
        ("sharpness", np.float32),  # see `image_statistics`; NaN for flat images
        ("color", np.float32),  # 99th percentile of a pixel's largest minus smallest channel, 0..255
    ]
)
GRAY_WEIGHTS = (77, 150, 29)  # of red, green and blue, in 1/256
TILES = 6  # a side
MIN_TILE = 8  # pixels
ROUNDING = 20 * sum(weight**2 for weight in GRAY_WEIGHTS) / 256**2 / 12  # variance of the Laplacian of rounding errors
FLAT = 2.0
BLACK_BELOW, WHITE_ABOVE = 24.0, 235.0
BLURRED_BELOW = 0.008  # measured: 0.020 to 4.1 for photographs; 0.001 to 0.006 when blurred by 1/80 of their side
BLURRED_RATIO = 8.0  # how much sharper the middle of the set is
GRAY_BELOW = 6.0
TINY_SIDE, TINY_RATIO = 24, 8
MIN_IMAGES = 10  # of a set in which one can be of another kind than the rest
RARE = 0.1  # at most this share of a set is of another kind than the rest


@dataclass(frozen=True)
class OddImages:
    """Images that differ from the rest of their set.

    Attributes:
        kind: "black", "white", "flat", "blurred", "tiny", "gray", "color", "bits" or "alpha".
        rows: their rows, ascending.
        reason: what they are, and what the others are.
    """

    kind: str
    rows: tuple[int, ...]
    reason: str


def image_statistics(small: SmallImage) -> np.ndarray:
    """Numbers about one image.

    The sharpness is the variance of the Laplacian at the fixed scale of `SmallImage`, divided by the variance of the gray values,
    so that contrast has no influence. It is the 90th percentile over a grid of tiles: an image with a sharp object in front of a
    blurred background counts as sharp.

    Returns:
        A scalar array of `STATISTICS`; stack those of a set by ``np.array``.
    """
    red, green, blue = (small.image[:, :, channel] for channel in range(3))
    weighted = sum(
        weight * channel.astype(np.uint16) for weight, channel in zip(GRAY_WEIGHTS, (red, green, blue), strict=True)
    )
    gray = np.asarray(weighted, dtype=np.float32) / 256
    low, high = (_percentile(np.asarray(weighted) >> 8, share) for share in (0.01, 0.99))
    spread = float(gray.std())
    sharpness = _sharpness(gray, spread) if spread >= FLAT else np.nan
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    color = _percentile(largest - smallest, 0.99)
    return np.array(
        (*small.size, small.channels, small.bits, low, gray.mean(), high, spread, sharpness, color), dtype=STATISTICS
    )


def odd_images(statistics: np.ndarray) -> list[OddImages]:
    """Images of a set that are likely broken or do not belong to it.

    What most of a set is, is not odd: no image of a night sky is black among others of it. Blurred images must be blurred both by
    themselves and next to the rest.

    Args:
        statistics: (n,) `STATISTICS`.
    """
    if not len(statistics):
        return []
    dark, bright = statistics["high"] < BLACK_BELOW, statistics["low"] > WHITE_ABOVE
    flat = (statistics["spread"] < FLAT) & ~dark & ~bright
    results = [
        ("black", dark, "nearly black"),
        ("white", bright, "nearly white"),
        ("flat", flat, "nearly of one color"),
        ("blurred", _blurred(statistics), "much more blurred than the rest"),
        ("tiny", _tiny(statistics), f"smaller than {TINY_SIDE} pixels, and much smaller than the rest"),
    ]
    odd = [(kind, mask, reason) for kind, mask, reason in results if mask.mean() <= 0.5]
    if len(statistics) >= MIN_IMAGES:
        odd += _minorities(statistics, ~dark & ~bright & ~flat)
    return [OddImages(kind, tuple(np.flatnonzero(mask).tolist()), reason) for kind, mask, reason in odd if mask.any()]


def _percentile(values: np.ndarray, share: float) -> int:
    """The number of 0..255 that this share of the values does not exceed."""
    counts = np.bincount(values.ravel(), minlength=256).cumsum()
    return int(np.searchsorted(counts, share * values.size))


def _sharpness(gray: np.ndarray, spread: float) -> float:
    if min(gray.shape) < 3:
        return float("nan")
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    down, across = (max(1, min(TILES, side // MIN_TILE)) for side in laplacian.shape)
    height, width = laplacian.shape[0] // down, laplacian.shape[1] // across
    tiles = laplacian[: down * height, : across * width].reshape(down, height, across, width)
    return max(float(np.percentile(tiles.var(axis=(1, 3)), 90)) - ROUNDING, 0.0) / spread**2


def _blurred(statistics: np.ndarray) -> np.ndarray:
    sharpness = statistics["sharpness"]
    known = np.isfinite(sharpness)
    if known.sum() < MIN_IMAGES:
        return np.zeros(len(statistics), dtype=bool)
    middle = float(np.median(sharpness[known]))
    if middle < BLURRED_BELOW:  # the set itself is soft
        return np.zeros(len(statistics), dtype=bool)
    return np.asarray(known & (sharpness < BLURRED_BELOW) & (sharpness * BLURRED_RATIO < middle))


def _tiny(statistics: np.ndarray) -> np.ndarray:
    sides = np.maximum(statistics["height"], statistics["width"])
    return np.asarray((sides < TINY_SIDE) & (sides * TINY_RATIO < np.median(sides)))


def _minorities(statistics: np.ndarray, visible: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Few images of another kind than most: gray among color and the other way around, other bits, transparency."""
    gray = statistics["color"] < GRAY_BELOW
    alpha = np.isin(statistics["channels"], (2, 4))
    bits = statistics["bits"]
    usual = int(np.bincount(bits).argmax())
    kinds = [
        ("gray", gray & visible, "gray among color images"),
        ("color", ~gray & visible, "in color among gray images"),
        ("bits", bits != usual, f"of other than {usual} bits a channel, which most images have"),
        ("alpha", alpha, "with two or four channels among images without (transparency, CMYK)"),
    ]
    return [(kind, mask, reason) for kind, mask, reason in kinds if 0 < mask.mean() <= RARE]
