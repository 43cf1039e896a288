"""Conversion of torchvision's parameter names to timm's, tested by equal logits of the whole model, with its head."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from vertebra.weights.foreign import to_timm

PEERS = {
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_v2_s": "efficientnetv2_s",
    "regnet_x_400mf": "regnetx_004_tv",
    "regnet_y_400mf": "regnety_004",
    "convnext_tiny": "convnext_tiny",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet1_0": "mnasnet_100",
    "vgg11_bn": "vgg11_bn",
    "densenet121": "densenet121",
}


def same_logits(theirs: torch.nn.Module, ours: torch.nn.Module, architecture: str, size: int) -> None:
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.001, 1.5)
    state = to_timm(architecture, dict(sorted(theirs.state_dict().items())))  # in the order of files
    assert state is not None
    missing, left = ours.load_state_dict(state, strict=False)
    assert not left and not [name for name in missing if "relative" not in name and "k_bias" not in name]
    images = torch.randn(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        expected, actual = theirs.double().eval()(images), ours.double().eval()(images)
    scale = float(expected.abs().max())
    torch.testing.assert_close(actual / scale, expected / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("peer", PEERS)
def test_torchvision_models_give_the_same_logits(peer: str) -> None:
    size = 256 if "swin_v2" in peer else 224
    same_logits(torchvision.models.get_model(peer, weights=None), timm.create_model(PEERS[peer]), PEERS[peer], size)


def test_torchvision_vit_gives_the_same_logits() -> None:
    theirs = torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5)
    torch.nn.init.normal_(theirs.heads.head.weight)
    ours = timm.models.VisionTransformer(32, 8, num_classes=5, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2)
    same_logits(theirs, ours, "vit_tiny_patch8_32", 32)


def test_an_architecture_without_a_table() -> None:
    assert to_timm("resnet18", {}) is None


def test_the_eps_of_the_body_is_counted_once() -> None:
    state = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
    name = "features.0.1.running_var"
    shifted, same = (to_timm("mobilenetv3_small_100", state, eps) for eps in (1e-5, 1e-3))
    assert shifted is not None and same is not None
    assert float(shifted["bn1.running_var"][0]) == pytest.approx(float(state[name][0]) + 1e-3 - 1e-5)
    assert float(same["bn1.running_var"][0]) == float(state[name][0])
