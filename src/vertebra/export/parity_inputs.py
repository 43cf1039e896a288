"""The canvases on which an exported file is compared with its model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.inference.io.inputs import finite_sources, is_image, read_source
from vertebra.inference.results import Unreadable
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.preprocess.images import apply

REAL = "real image"  # prefix of the names of cases with real images


class ParityCase(NamedTuple):
    """The input of one comparison.

    Attributes:
        name: for messages and the report.
        images: (N, C, height, width) uint8 canvases.
        sizes: (N, 2) int64, (height, width) of each one's valid pixels.
    """

    name: str
    images: np.ndarray
    sizes: np.ndarray


def parity_inputs(model: VisionModel, batch: int, free_size: bool) -> list[ParityCase]:
    """Synthetic cases, each for a typical fault of exported files.

    - Another batch size than at export, with images that fill a part of their canvas: detects a fixed batch and ignored sizes.
    - A single image: detects a dropped dimension of 1.
    - An image of nearly one color: detects equal scores in another order. With exactly one color all scores would tie.
    - Another canvas with an odd size that no stride divides, if the size is free: detects a fixed height or width.

    Args:
        model: the exported model.
        batch: the batch size of the example at export.
        free_size: whether the canvas' height and width are free.
    """
    generator = np.random.default_rng(0)
    channels: int = model.backbone.in_channels  # type: ignore[assignment]
    height, width = model.resize_spec.size

    def noise(count: int, rows: int, columns: int) -> np.ndarray:
        return generator.integers(0, 256, (count, channels, rows, columns), dtype=np.uint8)

    def full(count: int, rows: int, columns: int) -> np.ndarray:
        return np.array([[rows, columns]] * count, dtype=np.int64)

    sizes = full(batch + 1, height, width)
    sizes[1:] -= [[height // 4, width // 3]]
    cases = [
        ParityCase(f"batch {batch + 1}, images that fill a part", noise(batch + 1, height, width), sizes),
        ParityCase("batch 1", noise(1, height, width), full(1, height, width)),
        ParityCase("batch 1, nearly one color", noise(1, height, width) // 32 + np.uint8(90), full(1, height, width)),
    ]
    if free_size:
        rows, columns = height + 33, max(width - 31, 33)
        cases.append(ParityCase(f"batch 2, canvas {rows}x{columns}", noise(2, rows, columns), full(2, rows, columns)))
    return cases


def real_parity_inputs(info: ModelInfo, images: Iterable[Any]) -> list[ParityCase]:
    """Real images on the model's canvas, one case for each image.

    Args:
        info: of the model.
        images: files, arrays and the like; see `vertebra.inference.io.inputs.list_images`.

    Raises:
        DataError: one cannot be read, or is a video.
    """
    cases = []
    for number, source in enumerate(finite_sources(list(images)), start=1):
        if not is_image(source):
            raise DataError(f"{source.path}: a video, and images are needed here; save some of its frames as images")
        read = read_source(source, info.channels, info.resize_spec.scale)
        if isinstance(read, Unreadable):
            raise read.error
        array = read[1]
        size = info.resize_spec.transform(array.shape[0], array.shape[1]).size
        canvas = np.ascontiguousarray(apply(info.resize_spec, array).transpose(2, 0, 1)[None])
        cases.append(ParityCase(f"{REAL} {number}", canvas, np.array([size], dtype=np.int64)))
    return cases


def mirrored(case: ParityCase) -> list[ParityCase]:
    """The same images flipped horizontally, vertically and both; pixels outside the valid ones do not change."""
    cases = []
    for rows, columns in ((1, -1), (-1, 1), (-1, -1)):
        images = case.images.copy()
        for image, (height, width) in zip(images, case.sizes.tolist(), strict=True):
            image[:, :height, :width] = image[:, :height, :width][:, ::rows, ::columns].copy()
        cases.append(case._replace(name=f"{case.name}, mirrored", images=images))
    return cases
