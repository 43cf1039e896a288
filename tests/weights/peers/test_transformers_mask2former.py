"""transformers' Mask2Former with random weights: the import gives equal outputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.model import VisionModel
from vertebra.weights.importing import assemble, import_with_report
from vertebra.weights.peers.transformers_mask2former import mask2former

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

CANVAS = {"resnet": (64, 96), "swin": (224, 224)}  # Swin's windows of 7 cells at stride 32


def peer_of(kind: str) -> Any:
    """A small model of the peer whose weights are all random."""
    stages = [f"stage{number}" for number in range(1, 5)]
    if kind == "resnet":
        sizes = [64, 128, 256, 512]
        backbone = transformers.ResNetConfig(
            depths=[1, 1, 1, 1], layer_type="basic", hidden_sizes=sizes, out_features=stages
        )
    else:
        backbone = transformers.SwinConfig(
            embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=7, out_features=stages
        )
    torch.manual_seed(0)
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        encoder_layers=1,
        encoder_feedforward_dim=64,
        decoder_layers=5,
        dim_feedforward=64,
        num_queries=6,
        id2label={0: "cat", 1: "dog", 2: "cat"},
    )
    return randomize(transformers.Mask2FormerForUniversalSegmentation(config))


@lru_cache(maxsize=2)
def both(kind: str) -> tuple[Any, VisionModel, Tensor]:
    theirs = peer_of(kind)
    ours, report = assemble(mask2former(theirs.config.to_dict(), theirs.state_dict()))
    assert report.leftover == ()
    coarse = torch.rand(2, 3, 6, 10, generator=torch.Generator().manual_seed(1))
    images = (F.interpolate(coarse, size=CANVAS[kind], mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    return theirs, ours, images


def normalized(ours: VisionModel, images: Tensor) -> Tensor:
    return (images.float() - ours.backbone.mean) / ours.backbone.std  # type: ignore[operator]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["resnet", "swin"])
def test_raw_outputs_are_equal(kind: str) -> None:
    theirs, ours, images = both(kind)
    expected = theirs(normalized(ours, images))
    branch = ours.branch("segment")
    outputs = branch.decoder(branch.prepare(ours.features(images)))
    assert relative_difference(outputs.class_logits, expected.class_queries_logits) < 1e-4
    assert relative_difference(outputs.mask_logits, expected.masks_queries_logits) < 1e-4
