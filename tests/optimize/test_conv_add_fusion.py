"""Sums behind convolutions are computed with them, and blocks that have none, or cannot be read, stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.optimize.bn_folding import fold_batch_norm
from vertebra.optimize.conv_add_fusion import ConvSum, fuse_sums
from vertebra.optimize.conv_prepack import PackedConv, pack_convolutions
from vertebra.optimize.half_precision import autocast_context, cast_weights

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


class Block(nn.Module):
    """A residual block; ``ending`` is what it does with the two sides."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.first, self.second, self.side = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.act, self.nothing = nn.ReLU(inplace=True), nn.Identity()
        self.ending = ending

    def forward(self, maps: Tensor) -> Any:
        own = self.second(self.act(self.first(maps)))
        if self.ending == "plain":
            return self.act(own + maps)
        if self.ending == "in place":
            own = self.nothing(own)
            own += self.side(maps)
            return F.relu(own)
        if self.ending == "no relu":
            return torch.add(maps, own)
        if self.ending == "read twice":
            return own + maps, own
        if self.ending == "by value":
            return own + maps if float(maps.sum()) < 1e9 else own
        if self.ending == "broadcast":
            return own + maps.mean((2, 3), keepdim=True)
        if self.ending == "result broadcast":
            return maps + self.side(maps.mean((2, 3), keepdim=True))
        if self.ending == "input changed":
            kept = maps.add_(1.0)
            return own + kept
        if self.ending == "sum read twice":
            total = own + maps
            return total.relu() + total
        raise AssertionError(self.ending)


def prepared(model: nn.Module, maps: Tensor) -> int:
    def run() -> Any:
        return model(maps.clone())

    count = fuse_sums(model, run)
    pack_convolutions(model, run)
    return count


@pytest.mark.parametrize(
    ("ending", "fused"),
    [
        ("plain", 1),
        ("in place", 1),
        ("no relu", 1),
        ("read twice", 0),
        ("by value", 0),
        ("broadcast", 1),
        ("result broadcast", 1),
        ("input changed", 1),
        ("sum read twice", 1),
    ],
)
def test_a_block_says_the_same(ending: str, fused: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Block(ending)).eval()
    tried = [torch.randn(2, 3, 9, 7), torch.randn(1, 3, 12, 12)]
    with torch.no_grad():
        expected = [model(maps.clone()) for maps in tried]
        assert prepared(model, tried[0]) == fused
        assert sum(isinstance(part, ConvSum) for part in model.modules()) == fused
        for maps, own in zip(tried, expected, strict=True):
            torch.testing.assert_close(model(maps.clone()), own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "fused"),
    [
        ("dla46x_c", 0),
        ("gcresnet33ts", 10),
        ("resnet10t", 4),
        ("resnet26", 8),
        ("mobilenetv2_035", 10),
        ("regnetx_002", 13),
        ("test_convnext", 0),
        ("vgg11", 0),
    ],
)
def test_the_bodies_of_timm(name: str, fused: int) -> None:
    torch.manual_seed(0)
    body = randomize(timm.create_model(name, num_classes=7)).eval()
    maps = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = body(maps)
        fold_batch_norm(body, lambda: body(maps))
        assert prepared(body, maps) == fused
        assert relative_difference(body(maps), expected) < 1e-5
        packed = [part for part in body.modules() if isinstance(part, ConvSum) and isinstance(part.conv, PackedConv)]
        assert len(packed) == fused


class Optional(nn.Module):
    """It adds what it may be given, or the maps themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, maps: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if shortcut is None:
            shortcut = maps
        return self.act(self.conv(maps) + shortcut)


def test_a_block_with_an_argument_that_is_not_given_stays() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Optional()).eval()
    maps = torch.randn(1, 3, 8, 8)
    assert fuse_sums(model, lambda: model(maps)) == 0 and isinstance(model[1], Optional)


class Reading(nn.Module):
    """It reads an attribute of its block, which the block's new form has not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Conv2d(3, 4, 1), Block("plain")

    def forward(self, maps: Tensor) -> Tensor:
        return self.block(self.first(maps)) * len(self.block.ending)


def test_a_model_that_fails_with_new_blocks_gets_its_own_back() -> None:
    model = Reading().eval()
    maps = torch.randn(1, 3, 8, 8)
    expected = model(maps)
    assert fuse_sums(model, lambda: model(maps)) == 0 and isinstance(model.block, Block)
    assert torch.equal(model(maps), expected)


def test_a_block_with_hooks_and_one_that_is_called_twice_stay() -> None:
    block = Block("plain").eval()
    twice = nn.Sequential(nn.Conv2d(3, 4, 1), block, block)
    maps = torch.randn(1, 3, 8, 8)
    assert fuse_sums(twice, lambda: twice(maps)) == 0
    hooked = nn.Sequential(nn.Conv2d(3, 4, 1), Block("plain")).eval()
    hooked[1].second.register_forward_hook(lambda module, given, found: None)
    assert fuse_sums(hooked, lambda: hooked(maps)) == 0


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16")
def test_a_sum_in_bfloat16() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Block("plain")).eval()
    maps = torch.randn(2, 3, 16, 16)
    cast_weights(model, "bf16", torch.device("cpu"))
    with torch.no_grad(), autocast_context("bf16", torch.device("cpu")):
        expected = model(maps).float()
        assert prepared(model, maps) == 1
        torch.testing.assert_close(model(maps).float(), expected, rtol=0.02, atol=0.02)
        assert model[1].sum_0.conv._packed[1].dtype == torch.bfloat16
