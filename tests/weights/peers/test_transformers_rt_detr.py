"""transformers' RT-DETR and RT-DETRv2 with random weights: the import gives equal outputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.errors import ConfigError
from vertebra.geometry.boxes import clip_boxes, from_center_size
from vertebra.model import VisionModel
from vertebra.weights.importing import assemble, import_with_report
from vertebra.weights.peers.transformers_rt_detr import rt_detr

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

CANVAS = (96, 160)  # the peer accepts multiples of 32 only
CASES = ["v1 basic", "v1 bottleneck", "v2 bilinear", "v2 discrete"]


def peer_of(case: str) -> Any:
    """A small model of the peer whose weights, statistics and biases are all random."""
    version, kind = case.split()
    basic = kind != "bottleneck"
    widths = [64, 128, 256, 512] if basic else [256, 512, 1024, 2048]
    backbone = transformers.RTDetrResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=widths, layer_type="basic" if basic else "bottleneck", out_indices=[2, 3, 4]
    )
    options: dict[str, Any] = {
        "backbone_config": backbone,
        "encoder_hidden_dim": 64,
        "encoder_in_channels": widths[1:],
        "encoder_ffn_dim": 96,
        "hidden_expansion": 0.5 if basic else 1.0,
        "d_model": 32,
        "decoder_in_channels": [64] * 3,
        "decoder_layers": 2 if basic else 3,
        "decoder_ffn_dim": 80,
        "num_queries": 30,
        "num_denoising": 20,
        "id2label": {0: "cat", 1: "dog", 2: "cat", 3: "hen"},
    }
    torch.manual_seed(len(case))
    if version == "v1":
        model = transformers.RTDetrForObjectDetection(transformers.RTDetrConfig(**options))
    else:
        method = "discrete" if kind == "discrete" else "default"
        config = transformers.RTDetrV2Config(**options, decoder_method=method, decoder_offset_scale=0.4)
        model = transformers.RTDetrV2ForObjectDetection(config)
    randomize_all(model)
    return model.eval()


@torch.no_grad()
def randomize_all(model: nn.Module) -> None:
    """Random weights and biases everywhere; the norms' statistics are those of the images, so that queries differ."""
    randomize(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "backbone" not in name:
            module.weight.normal_(0, 1 / module.in_features**0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(made_images().float() / 255)


def made_images() -> Tensor:
    """(2, 3, 96, 160) uint8, smooth and colored, so that no two cells tie."""
    coarse = torch.rand(2, 3, 6, 10, generator=torch.Generator().manual_seed(1))
    return (F.interpolate(coarse, size=CANVAS, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


@lru_cache(maxsize=1)
def both(case: str) -> tuple[Any, VisionModel, Tensor]:
    theirs = peer_of(case)
    ours, report = assemble(rt_detr(theirs.config.to_dict(), theirs.state_dict()))
    assert report.leftover == ()
    return theirs, ours, made_images()


def raw(ours: VisionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Class logits and boxes of the decoder."""
    branch = ours.branch("detect")
    features = ours.backbone(images)
    for part in (branch.neck, branch.encoder):
        features = features if part is None else part(features)
    outputs = branch.decoder(features)
    return outputs.class_logits, outputs.boxes


@pytest.mark.parametrize("case", CASES)
def test_raw_outputs_are_equal(case: str) -> None:
    theirs, ours, images = both(case)
    with torch.no_grad():
        expected = theirs(images.float() / 255)
        logits, boxes = raw(ours, images)
    assert_choice_is_clear(expected)
    height, width = CANVAS
    pixels = from_center_size(expected.pred_boxes) * torch.tensor([width, height, width, height])
    assert relative_difference(logits, expected.logits) < 1e-4
    assert relative_difference(boxes, pixels) < 1e-4
    assert float(expected.logits.std(dim=1).mean()) > 0.2 and float(expected.pred_boxes.std(dim=1).mean()) > 0.05


def assert_choice_is_clear(expected: Any) -> None:
    """The peer zeroes cells at the edge, but may select them, with tied scores; here it does not, and no scores tie."""
    scores = expected.enc_outputs_class.amax(dim=-1).sort(dim=1, descending=True).values[:, :31]
    assert float((scores[:, :-1] - scores[:, 1:]).min()) > 1e-6
    assert float(expected.init_reference_points.max()) < 1e6


@pytest.mark.parametrize("case", CASES)
def test_final_boxes_are_equal(case: str) -> None:
    theirs, ours, images = both(case)
    sizes = torch.tensor([CANVAS] * 2)
    with torch.no_grad():
        expected = transformers.RTDetrImageProcessor().post_process_object_detection(
            theirs(images.float() / 255), threshold=0.0, target_sizes=sizes
        )
        decoded = ours(images, sizes)["detect"]
    for number, detections in enumerate(expected):
        boxes = clip_boxes(detections["boxes"][None], sizes[:1])[0]
        nonempty = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=-1)
        count = int(decoded.count[number])
        assert count == int(nonempty.sum()) > 20
        torch.testing.assert_close(decoded.scores[number, :count], detections["scores"][nonempty], atol=1e-5, rtol=1e-4)
        assert torch.equal(decoded.labels[number, :count], detections["labels"][nonempty])
        torch.testing.assert_close(decoded.boxes[number, :count], boxes[nonempty], atol=160 * 1e-4, rtol=0)


def test_the_composition_is_read_off() -> None:
    theirs, ours, _ = both(CASES[0])
    peer = rt_detr(theirs.config.to_dict(), theirs.state_dict())
    assert peer.resize_spec.size == (640, 640) and peer.resize_spec.mode == "resize"
    assert peer.model["backbone"]["name"] == "resnet18d" and peer.model["backbone"]["frozen_norm"] is True
    assert peer.model["branches"]["detect"]["classes"] == ["cat 0", "dog", "cat 2", "hen"]
    decoder = peer.model["branches"]["detect"]["decoder"]
    assert (decoder["layers"], decoder["points"], decoder["queries"], decoder["denoising"]) == (2, 4, 30, 20)
    assert ours.branch("detect").encoder.out_spec.channels == (64, 64, 64)  # type: ignore[union-attr]


def test_the_wider_stem_stays_without_effect_in_training() -> None:
    """The channels added to the stem are zero and get no gradient."""
    _, ours, images = both(CASES[0])
    ours.backbone.train()
    features = ours.backbone(images)
    torch.stack([level.pow(2).mean() for level in features.maps]).sum().backward()
    body: Any = ours.backbone.eval().body
    for weight in (body.conv1[0].weight, body.conv1[3].weight, body.conv1[6].weight):
        assert weight.shape[0] in (33, 66) and not weight[-1].any() and not weight.grad[-1].any()
        assert weight.grad[:32].any()
    ours.zero_grad(set_to_none=True)


def test_a_saved_folder_comes_in(tmp_path: Path) -> None:
    """Files have other names than the modules, and lack duplicates of tied weights."""
    theirs, ours, images = both(CASES[0])
    theirs.save_pretrained(tmp_path)
    decoded, report = import_with_report(f"transformers:{tmp_path}")
    assert report.leftover == ()
    with torch.no_grad():
        for left, right in zip(raw(decoded, images), raw(ours, images), strict=True):
            torch.testing.assert_close(left, right)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, "with activation_function=relu is not supported, only silu"),
        ({"normalize_before": True}, "with normalize_before=True is not supported"),
        ({"encode_proj_layers": [1, 2]}, r"with encode_proj_layers=\[1, 2\] is not supported, only the last"),
        ({"learn_initial_query": True}, "with learn_initial_query=True is not supported"),
        ({"num_feature_levels": 4}, "more levels in the decoder than in the encoder"),
        ({"backbone_config": {"model_type": "resnet"}}, r"on its own ResNet only"),
        ({"backbone_config": {"embedding_size": 32}}, "embedding_size are not those of a ResNet-D"),
    ],
)
def test_forms_that_are_not_known_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rt_detr(changes, {})
