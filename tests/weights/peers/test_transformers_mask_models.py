"""transformers' Mask2Former and MaskFormer with random weights: the import gives equal outputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.weights.importing import assemble, import_with_report
from vertebra.weights.peers.transformers_mask2former import mask2former
from vertebra.weights.peers.transformers_mask_backbones import mask_backbone, mask_task
from vertebra.weights.peers.transformers_maskformer import maskformer

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

CASES = [("mask2former", "resnet"), ("mask2former", "swin"), ("maskformer", "resnet"), ("maskformer", "swin")]
CANVAS = {"resnet": (64, 96), "swin": (224, 224)}  # Swin's windows of 7 cells at stride 32
BUILDERS = {"mask2former": mask2former, "maskformer": maskformer}


def peer_of(family: str, body: str) -> Any:
    """A small model of the peer whose weights are all random."""
    stages = [f"stage{number}" for number in range(1, 5)]
    if body == "resnet":
        widths = [64, 128, 256, 512]
        backbone = transformers.ResNetConfig(
            depths=[1, 1, 1, 1], layer_type="basic", hidden_sizes=widths, out_features=stages
        )
    else:
        backbone = transformers.SwinConfig(
            embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=7, out_features=stages
        )
    shared: dict[str, Any] = {"backbone_config": backbone, "id2label": {0: "cat", 1: "dog", 2: "cat"}}
    torch.manual_seed(0)
    if family == "mask2former":
        few = {"encoder_layers": 1, "encoder_feedforward_dim": 64, "dim_feedforward": 64, "num_queries": 6}
        config = transformers.Mask2FormerConfig(**shared, **few, decoder_layers=5)
        return randomize(transformers.Mask2FormerForUniversalSegmentation(config))
    decoder = transformers.DetrConfig(decoder_layers=2, decoder_ffn_dim=64, num_queries=6)
    config = transformers.MaskFormerConfig(**shared, decoder_config=decoder)
    return randomize(transformers.MaskFormerForInstanceSegmentation(config))


@lru_cache(maxsize=1)
def both(family: str, body: str) -> tuple[Any, VisionModel, Tensor]:
    theirs = peer_of(family, body)
    ours, report = assemble(BUILDERS[family](theirs.config.to_dict(), theirs.state_dict()))
    assert report.leftover == ()
    coarse = torch.rand(2, 3, 6, 10, generator=torch.Generator().manual_seed(1))
    images = (F.interpolate(coarse, size=CANVAS[body], mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    return theirs, ours, images


def raw(model: VisionModel, images: Tensor) -> Any:
    branch = model.branch(next(iter(model.branches)))
    return branch.decoder(branch.prepare(model.features(images)))


@torch.no_grad()
@pytest.mark.parametrize(("family", "body"), CASES)
def test_raw_outputs_are_equal(family: str, body: str, tmp_path: Path) -> None:
    theirs, ours, images = both(family, body)
    expected = theirs((images.float() - ours.backbone.mean) / ours.backbone.std)
    outputs = raw(ours, images)
    assert relative_difference(outputs.class_logits, expected.class_queries_logits) < 1e-4
    assert relative_difference(outputs.mask_logits, expected.masks_queries_logits) < 1e-4
    assert float(outputs.mask_logits.std(dim=(2, 3)).min()) > 0.05, "no query's mask is constant"
    assert ours.branch("segment").labels.classes == ("cat 0", "dog", "cat 2")
    if body == "swin":  # a published folder has other names than the modules
        folder = tmp_path / "coco-instance"
        theirs.save_pretrained(folder)
        loaded, report = import_with_report(f"transformers:{folder}")
        assert report.leftover == ()
        again = raw(loaded, images)
        assert torch.equal(again.mask_logits, outputs.mask_logits)


@torch.no_grad()
def test_the_same_pixels_as_the_peer() -> None:
    theirs, ours, images = both("mask2former", "resnet")
    peer_outputs = theirs((images.float() - ours.backbone.mean) / ours.backbone.std)
    processor = transformers.Mask2FormerImageProcessor()
    expected = processor.post_process_semantic_segmentation(peer_outputs, target_sizes=[CANVAS["resnet"]] * 2)
    got = ours(images)["segment"].probabilities.argmax(dim=1)
    assert float((got == torch.stack(expected)).float().mean()) > 0.97  # the peer resizes masks before it sums them


def test_the_task_is_that_of_the_name() -> None:
    names = (
        "facebook/mask2former-swin-tiny-coco-instance",
        "x-instances",
        "coco-panoptic",
        "ade-semantic",
        "",
        "distances",
    )
    tasks = [mask_task({"_name_or_path": name}) for name in names]
    assert tasks == ["instances"] * 2 + ["segment"] * 4


def test_forms_that_are_not_known_are_refused() -> None:
    with pytest.raises(ConfigError, match="Mask2Former with pre_norm=True is not supported, only False"):
        mask2former({"pre_norm": True}, {})
    with pytest.raises(ConfigError, match="MaskFormer with auxiliary_loss=True is not supported, only False"):
        maskformer({"decoder_config": {"auxiliary_loss": True}}, {})
    with pytest.raises(ConfigError, match="on a backbone 'focalnet' is not supported, only on a Swin or"):
        mask_backbone({"backbone_config": {"model_type": "focalnet"}}, "Mask2Former")
    with pytest.raises(ConfigError, match="a Swin with use_absolute_embeddings=True is not supported, only False"):
        mask_backbone({"backbone_config": {"use_absolute_embeddings": True}}, "Mask2Former")
