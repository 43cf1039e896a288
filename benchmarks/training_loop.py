"""The loop in which a peer is trained for some seconds. Nothing of Vertebra is imported here."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.training_clock import Curve


class PeerData(NamedTuple):
    """A task's training data in plain values.

    Attributes:
        files: of the images.
        targets: of each image: the class id; boxes (M, 4), xyxy in pixels, and class ids (M,); the mask (H, W) of class ids; or
            points (K, 3) of x, y in pixels and visibility.
        classes: number of classes.
        size: (height, width) of the canvas.
        ignore_index: of pixels that do not count.
        weights: of the backbone, with torchvision's names; None: it begins at random.
    """

    files: Sequence[Path]
    targets: Sequence[Any]
    classes: int
    size: tuple[int, int]
    ignore_index: int = 255
    weights: Path | None = None


class Peer(ABC):
    """A model with the recipe that its users have for it.

    Attributes:
        source: where the recipe is from.
        recipe_batch: images of a batch in the recipe.
        module: the network.
    """

    source: str
    recipe_batch: int
    module: nn.Module

    def __init__(self, data: PeerData) -> None:
        self.data = data
        few = max(2, len(data.files) // 8)
        self.batch_size = min(self.recipe_batch, 2 ** int(math.log2(few)))

    @abstractmethod
    def example(self, image: Image.Image, target: Any) -> tuple[Any, Any]:
        """An augmented training example."""

    @abstractmethod
    def loss(self, images: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        """The loss of a batch of examples."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """With the highest rate of the recipe."""

    @abstractmethod
    def factor(self, share: float, step: int, epoch_steps: int) -> float:
        """By what the rate is multiplied, when a share of the time is over and so many steps were taken."""

    @abstractmethod
    def predict(self, image: Image.Image) -> Any:
        """The trained model's prediction, in pixels of the image: probabilities (K,); boxes, scores and labels; a mask (H, W); or
        points (K, 2)."""


class Examples(Dataset[tuple[Any, Any]]):
    """The augmented training examples of a peer."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __len__(self) -> int:
        return len(self.peer.data.files)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return self.peer.example(open_image(self.peer.data.files[row]), self.peer.data.targets[row])


def open_image(file: Path) -> Image.Image:
    """An image as its viewer shows it, in RGB."""
    with Image.open(file) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def train(build: Callable[[], Peer], seconds: float, curve: Curve, seed: int, workers: int) -> Peer:
    """Trains a peer for some seconds, its building included, and one step at least.

    Args:
        build: gives the untrained peer.
        seconds: of the curve's clock.
        curve: what is measured of the peer on the way, and at the end.
        seed: of weights, order and augmentation.
        workers: processes that load examples.

    Raises:
        RuntimeError: the loss is not finite, where the recipe's own scripts stop too.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    peer = build()
    loader = DataLoader(
        Examples(peer),
        batch_size=peer.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        collate_fn=unzipped,
        persistent_workers=workers > 0,
    )
    optimizer = peer.optimizer()
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = 0
    while curve.clock.seconds < seconds or not steps:
        for images, targets in loader:
            peer.module.train()
            factor = peer.factor(min(1.0, curve.clock.seconds / seconds), steps, len(loader))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss = peer.loss(images, targets)
            if not math.isfinite(loss.item()):
                raise RuntimeError(f"{type(peer).__name__}: the loss is {loss.item()} after {steps} steps")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            share = curve.clock.seconds / seconds
            if share >= 1:
                break
            curve.reach(share, steps, peer)
    curve.add(steps, peer)
    return peer


def unzipped(examples: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Images and targets of a batch."""
    images, targets = zip(*examples, strict=True)
    return list(images), list(targets)


@torch.no_grad()
def predictions(peer: Peer, files: Sequence[Path]) -> list[Any]:
    """A peer's predictions of some files."""
    peer.module.eval()
    return [peer.predict(open_image(file)) for file in files]
