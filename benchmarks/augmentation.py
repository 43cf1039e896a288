"""Images a second of single augmentations on images in memory, beside torchvision's ``transforms.v2``, on one thread.

python -m benchmarks.augmentation [--images N] [--repeats N] [--threads N] [--out FILE]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.data.color_jitter import apply_matrix, color_map
from vertebra.data.transforms import augment_onto, cut
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks.detect.annotation import DetectAnnotation

STILL = Augment.preset("none")
SSD = {
    "brightness": 0.125,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.05,
    "color_probability": 0.5,
    "channel_shuffle": 0.5,
}
CANVAS, SMALL = (480, 640), (300, 300)
BILINEAR = v2.InterpolationMode.BILINEAR
Work = tuple[str, tuple[int, int], dict[str, Any], v2.Transform]


def works() -> list[Work]:
    """By name: the size of the canvas, our options, and torchvision's transform."""
    iou = [v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()]
    jitter = dict.fromkeys(("brightness", "contrast", "saturation"), 0.2)
    return [
        ("photometric distortion", CANVAS, SSD, v2.RandomPhotometricDistort()),
        ("color jitter", CANVAS, {**jitter, "hue": 0.02}, v2.ColorJitter(0.2, 0.2, 0.2, 0.02)),
        ("IoU crop, onto 300x300", SMALL, {"iou_crop": 1.0}, v2.Compose([*iou, v2.Resize(SMALL)])),
        ("IoU crop, onto 480x640", CANVAS, {"iou_crop": 1.0}, v2.Compose([*iou, v2.Resize(CANVAS)])),
        ("rotation", CANVAS, {"rotate": 30.0}, v2.RandomRotation(30, interpolation=BILINEAR)),
        ("perspective", CANVAS, {"perspective": 0.15}, v2.RandomPerspective(0.3, p=1.0, interpolation=BILINEAR)),
        ("blur", CANVAS, {"blur": 1.0, "blur_sigma": (0.5, 2.0)}, v2.GaussianBlur(13, (0.5, 2.0))),
        ("noise", CANVAS, {"noise": 1.0, "noise_level": (5.0, 5.0)}, _noise()),
        ("JPEG", CANVAS, {"jpeg": 1.0, "jpeg_quality": (30, 95)}, v2.JPEG((30, 95))),
    ]


def _noise() -> v2.Transform:
    """torchvision's noise, which is for floats, there and back."""
    to_float, to_bytes = (
        v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
        v2.ToDtype({tv_tensors.Image: torch.uint8, "others": None}, scale=True),
    )
    return v2.Compose([to_float, v2.GaussianNoise(sigma=5 / 255), to_bytes])


def scenes(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Smooth images of 480x640, and the boxes of 1 to 12 objects, of 4% to 70% of the image's sides."""
    draw, drawn = np.random.default_rng(0), []
    for _ in range(count):
        coarse = torch.from_numpy(draw.random((1, 3, 30, 40)).astype(np.float32) * 255)
        smooth = torch.nn.functional.interpolate(coarse, CANVAS, mode="bicubic").clamp(0, 255).to(torch.uint8)
        objects = int(draw.integers(1, 13))
        sides = np.exp(draw.uniform(np.log(0.04), np.log(0.7), (objects, 2))) * [640, 480]
        corners = draw.random((objects, 2)) * ([640, 480] - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        drawn.append((np.ascontiguousarray(smooth[0].permute(1, 2, 0).numpy()), boxes))
    return drawn


def ours(
    drawn: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, int], changes: dict[str, Any]
) -> Callable[[], object]:
    """A pass over the images with our augmentation, each onto the canvas."""
    draw, augment, resize_spec = np.random.default_rng(0), replace(STILL, **changes), ResizeSpec(size, "resize")
    held = [
        (image, {"boxes": DetectAnnotation(boxes, np.arange(len(boxes)), np.zeros(len(boxes), dtype=bool))})
        for image, boxes in drawn
    ]
    return lambda: [augment_onto(image, boxes, resize_spec, {}, augment, draw) for image, boxes in held]


def peers(drawn: list[tuple[np.ndarray, np.ndarray]], transform: v2.Transform) -> Callable[[], object]:
    """A pass over the images with torchvision's transform."""
    held = [
        (tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1).contiguous()), torch.from_numpy(boxes))
        for image, boxes in drawn
    ]

    def run() -> list[Any]:
        return [
            transform(image, {"boxes": _wrapped(boxes), "labels": torch.arange(len(boxes))}) for image, boxes in held
        ]

    return run


def _wrapped(boxes: Tensor) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=CANVAS)  # type: ignore[call-overload, no-any-return]


def check_equal(image: np.ndarray) -> None:
    """With the same numbers, both give the same image: a crop with its resize, and each change of color but the hue.

    Raises:
        AssertionError: they differ by more than a gray level.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    window = CropWindow(30, 40, 300, 500, SMALL)
    cropped = cut(image, {}, ResizeSpec(SMALL, "resize"), {}, window).image
    assert _difference(cropped, F.resize(F.crop(pixels, 30, 40, 300, 500), list(SMALL))) <= 1
    for number, change in enumerate((F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)):
        limits = [0.2 * (number == index) for index in range(3)]
        draw = np.random.default_rng(1)
        factor = 1 + 0.2 * np.random.default_rng(1).uniform(-1, 1, 4)[number]
        changed = torch.from_numpy(color_map(image, draw, *limits, 0.0)(image)).permute(2, 0, 1)
        assert _difference(changed, change(pixels, factor)) <= 1
    np.testing.assert_array_equal(apply_matrix(image, np.eye(3)[[2, 0, 1]], 0.0), image[..., [2, 0, 1]])


def _difference(first: Tensor, second: Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


def compare(images: int, repeats: int, names: Sequence[str] | None = None) -> list[Row]:
    """A row for each of `works`.

    Args:
        images: of one pass.
        repeats: passes that count.
        names: of the works; None for all.
    """
    drawn = scenes(images)
    check_equal(drawn[0][0])
    rows = []
    for name, size, changes, transform in works():
        if names is not None and name not in names:
            continue
        seconds = in_turns(
            {"ours": ours(drawn, size, changes), "torchvision": peers(drawn, transform)},
            repeats,
            clock=time.thread_time,
        )
        rates = {side: images / own.median for side, own in seconds.items()}
        ratio = rates["ours"] / rates["torchvision"]
        rows.append({"name": name, "milliseconds": milliseconds(seconds), "images_a_second": rates, "ratio": ratio})
    return rows


COLUMNS: Columns = {
    "augmentation": lambda row: row["name"],
    "ours, images a second": lambda row: f"{row['images_a_second']['ours']:.0f}",
    "torchvision v2": lambda row: f"{row['images_a_second']['torchvision']:.0f}",
    "ratio": lambda row: f"{row['ratio']:.1f}",
}
NOTES = (
    "One thread, processor time, uint8 images of 480x640 in memory with 1 to 12 boxes, which move with the image. Ours includes a "
    "copy onto the canvas. torchvision's Gaussian noise is for floats only, so it includes the conversion there and back.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=7)
    parser.add_argument("--images", type=int, default=16, help="of one pass")
    parser.set_defaults(threads=1)
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    finish("augmentation", compare(given.images, given.repeats), COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
