"""A training step of the default RetinaNet on MobileNetV2 beside torchvision's on the same backbone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torchvision.models.detection.backbone_utils import _mobilenet_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import vertebra
from benchmarks.measure import in_turns, show
from vertebra.tasks.detect.targets import DetectTargets

SIZE = (320, 416)
BATCH = 2


def run() -> None:
    """Forward, loss and backward of a batch of two with twelve boxes an image."""
    boxes = torch.rand(BATCH, 12, 4) * 100 + torch.tensor([0, 0, 120, 120])
    show(
        f"training step, RetinaNet on MobileNetV2 at {SIZE[0]}x{SIZE[1]}, an image",
        in_turns({"vertebra": _ours(boxes), "torchvision (256 channels, 4 convolutions)": _theirs(boxes)}, repeats=3),
        images=BATCH,
    )


def _ours(boxes: torch.Tensor) -> Callable[[], None]:
    model = vertebra.create_model(
        "mobilenetv2_100", neck="fpn", decoder="retinanet", classes=["a", "b"], image_size=SIZE
    )
    model = model.train().to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (BATCH, 3, *SIZE), dtype=torch.uint8)
    sizes = torch.tensor([SIZE] * BATCH)
    targets = DetectTargets(
        boxes=boxes,
        labels=torch.zeros(BATCH, 12, dtype=torch.int64),
        crowd=torch.zeros(BATCH, 12, dtype=torch.bool),
        count=torch.full((BATCH,), 12),
    )

    def step() -> None:
        terms, _ = model.loss(images, sizes, {"detect": (torch.arange(BATCH), targets)})
        torch.stack([term.mean() for term in terms["detect"].values()]).sum().backward()

    return step


def _theirs(boxes: torch.Tensor) -> Callable[[], None]:
    body = torchvision.models.mobilenet_v2(weights=None)
    backbone = _mobilenet_extractor(body, True, 6, [2, 3, 4], LastLevelP6P7(256, 256))
    model = torchvision.models.detection.RetinaNet(backbone, 2, min_size=SIZE[0], max_size=SIZE[1]).train()
    images = [torch.rand(3, *SIZE) for _ in range(BATCH)]
    targets = [{"boxes": each, "labels": torch.zeros(12, dtype=torch.int64)} for each in boxes]

    def step() -> None:
        torch.stack(list(model(images, targets).values())).sum().backward()

    return step
