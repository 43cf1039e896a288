"""RT-DETR as one graph of any size, and in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vertebra import create_model
from vertebra.decoders.detect.rt_detr import RTDETR
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.testing import check_export

LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(16, 8), Level(24, 16), Level(32, 32)))
SMALL: dict[str, Any] = {"embed_dim": 32, "heads": 4, "layers": 2, "queries": 20}


class OnImages(nn.Module):
    """The decoder on maps that are cut out of the images, so that batch, height and width are those of one input."""

    def __init__(self, decoder: RTDETR) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        maps = tuple(images[:, : level.channels, :: level.stride, :: level.stride] for level in SPEC.levels)
        frame = Frame((images.shape[-2], images.shape[-1]), sizes)
        return tuple(self.decoder.decode(self.decoder(Features(maps, None, frame)), frame))


@pytest.mark.parametrize("sampling", ["bilinear", "discrete"])
def test_exports_with_free_batch_height_and_width(sampling: Any) -> None:
    torch.manual_seed(0)
    model = OnImages(RTDETR(SPEC, LABELS, **SMALL, sampling=sampling)).eval()

    def inputs(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        return torch.randn(count, 32, height, width), torch.tensor([[height, width]] * count)

    rows, columns = (torch.export.Dim(name, min=64, max=512) for name in ("rows", "columns"))
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        model, inputs(2, 107, 86), dynamic_shapes=({0: batch, 2: rows, 3: columns}, {0: batch})
    )
    for given in (inputs(3, 64, 128), inputs(1, 97, 65)):
        for left, right in zip(program.module()(*given), model(*given), strict=True):
            torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-3)


def test_discrete_reading_behind_the_hybrid_encoder_says_the_same_in_onnx_runtime(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(
        "resnet10t",
        encoder={"name": "hybrid", "channels": 32, "levels": 2, "blocks": 1},
        decoder={"name": "rt_detr", **SMALL, "layers": 1, "sampling": "discrete"},
        classes=["a", "b", "c"],
        image_size=(64, 96),
    ).train()
    for module in model.modules():  # so that the scores of an untaught model differ
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    with torch.no_grad():
        model(torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8), torch.tensor([[64, 96]] * 4))
    check_export(model.eval(), tmp_path)
