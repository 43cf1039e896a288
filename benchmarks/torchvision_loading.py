"""The loaders that torchvision's users write: Pillow with ``transforms`` v1, and with ``transforms.v2`` over ``tv_tensors``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Photos(Dataset[Any]):
    """Image files with their targets, transformed.

    Args:
        paths: the files.
        targets: of each file.
        transform: of the opened image and its target.
    """

    def __init__(self, paths: Sequence[Path], targets: Sequence[Any], transform: Callable[[Any, Any], Any]) -> None:
        self.paths, self.targets, self.transform = paths, targets, transform

    def __len__(self) -> int:
        """Number of files."""
        return len(self.paths)

    def __getitem__(self, row: int) -> Any:
        """An image and its target."""
        return self.transform(Image.open(self.paths[row]).convert("RGB"), self.targets[row])


class RandomCrop:
    """``RandomResizedCrop`` with crops that are drawn as ours, which are larger by a fifth: torchvision draws again what is
    larger than the image along one axis, and we cut it off.

    Args:
        side: of the result.
        draw: draws a crop (top, left, height, width) of an image of (height, width).
    """

    def __init__(self, side: int, draw: Callable[[tuple[int, int]], tuple[int, int, int, int]]) -> None:
        self.side, self.draw = side, draw

    def __call__(self, image: Image.Image) -> Image.Image:
        """A random crop, resized."""
        return v1.functional.resized_crop(image, *self.draw((image.height, image.width)), [self.side, self.side])


def classification(
    paths: Sequence[Path], side: int, batch: int, draw: Callable[[tuple[int, int]], tuple[int, int, int, int]]
) -> DataLoader[Any]:
    """Batches of random resized crops, mirrored, normalized (transforms v1)."""
    chain = v1.Compose([RandomCrop(side, draw), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])
    data = Photos(paths, [0] * len(paths), lambda image, target: (chain(image), target))
    return DataLoader(data, batch_size=batch)


def detection(paths: Sequence[Path], boxes: Tensor, size: tuple[int, int], batch: int) -> DataLoader[Any]:
    """Batches of resized images with their boxes, mirrored, normalized (transforms.v2, as in torchvision's references)."""
    chain = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomHorizontalFlip(),
            v2.Resize(size, antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            v2.SanitizeBoundingBoxes(),
        ]
    )

    def transform(image: Image.Image, target: Tensor) -> Any:
        shape = (image.height, image.width)
        given = tv_tensors.BoundingBoxes(target, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=shape)  # type: ignore[call-overload]
        return chain(image, {"boxes": given, "labels": torch.zeros(len(target), dtype=torch.int64)})

    def collate(samples: Sequence[Any]) -> Any:
        return torch.stack([image for image, _ in samples]), [target for _, target in samples]

    return DataLoader(Photos(paths, [boxes] * len(paths), transform), batch_size=batch, collate_fn=collate)
