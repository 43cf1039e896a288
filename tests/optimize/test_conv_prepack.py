"""Packed convolutions compute what the convolutions and activations did, and what cannot be packed stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.daily_sample import daily_sample
from tests.weights.peers.randomize import randomize, relative_difference
from vertebra import create_model
from vertebra.optimize.conv_prepack import PackedConv, pack_convolutions, step
from vertebra.optimize.half_precision import autocast_context
from vertebra.optimize.inference_copy import inference_copy, optimized_copy
from vertebra.parts import describe, find, names
from vertebra.testing.synthetic import fake_fields, fake_proposals

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")

ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(inplace=True),
    nn.Hardtanh(-0.5, 0.25),
    nn.Hardswish(),
    nn.SiLU(inplace=True),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.LeakyReLU(0.2),
    nn.Sigmoid(),
]


def packed(module: nn.Module, maps: Tensor) -> nn.Module:
    pack_convolutions(module.eval(), lambda: module(maps.clone()))
    return module


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_activations_are_computed_with_the_convolution(activation: nn.Module) -> None:
    module = nn.Sequential(nn.Conv2d(5, 7, 3, stride=2, padding=1), activation)
    maps = torch.randn(2, 5, 9, 11)
    with torch.no_grad():
        expected = module(maps)
        packed(module, maps)
        assert isinstance(module[0], PackedConv) and isinstance(module[1], nn.Identity)
        torch.testing.assert_close(module(maps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 6, "bias": False},
        {"dilation": 2, "padding": (2, 1)},
        {"kernel_size": (1, 5), "stride": (2, 1)},
        {"groups": 2, "kernel_size": 1},
    ],
    ids=str,
)
def test_every_geometry_and_every_size_of_maps(options: dict[str, Any]) -> None:
    module = nn.Sequential(nn.Conv2d(6, 12, **{"kernel_size": 3, **options}))
    with torch.no_grad():
        shapes = ((2, 6, 17, 13), (1, 6, 33, 40), (3, 6, 9, 9))
        tried = [torch.randn(shape) for shape in shapes]
        tried.append(tried[1].contiguous(memory_format=torch.channels_last))
        expected = [module(maps) for maps in tried]
        packed(module, tried[0])
        for maps, own in zip(tried, expected, strict=True):
            torch.testing.assert_close(module(maps), own, rtol=1e-5, atol=1e-5)


class Shared(nn.Module):
    """What must not be fused or packed: a result that is read twice, an activation behind two convolutions, a convolution whose
    weight is used elsewhere, one that is padded by reflection."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.weight_used = nn.Conv2d(3, 3, 3, padding=1)
        self.reflecting = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.act, self.both, self.late = nn.ReLU(), nn.SiLU(), nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        once = self.read_twice(maps)
        maps = self.act(once) + once
        maps = self.both(self.first(maps)) + self.both(self.second(maps))
        maps = F.conv2d(maps, self.weight_used.weight, padding=1) + self.weight_used(maps)
        return self.late(self.reflecting(maps))


def test_what_others_read_stays() -> None:
    module = Shared().eval()
    maps = torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        expected = module(maps)
        assert pack_convolutions(module, lambda: module(maps)) == 3
        torch.testing.assert_close(module(maps), expected, rtol=1e-5, atol=1e-5)
    assert [module.read_twice.step[0], module.first.step[0], module.second.step[0]] == ["none"] * 3
    assert type(module.weight_used) is type(module.reflecting) is nn.Conv2d
    assert isinstance(module.act, nn.ReLU) and isinstance(module.both, nn.SiLU) and isinstance(module.late, nn.ReLU)


def made(backbone: str, decoder: str) -> Any:
    task = describe("decoder", decoder).task
    assert task is not None
    branch = {"decoder": decoder, "classes": ["a", "b"], **fake_fields(task)}
    branches = {"only": branch}
    if getattr(find("decoder", decoder), "needs", None) == "boxes":
        branches = {"only": {**branch, "boxes_from": "boxes"}, "boxes": {"decoder": "fcos", "classes": ["a", "b"]}}
    return randomize(create_model(backbone, branches=branches, image_size=(64, 96))).eval()


@torch.no_grad()
def raw(model: Any, images: Tensor) -> list[Tensor]:
    branch = model.branch("only")
    torch.manual_seed(1)  # the same boxes for each model
    boxes = () if branch.boxes_from is None else (fake_proposals(branch.labels, (64, 96), len(images)),)
    outputs = branch.decoder(branch.prepare(model.features(images)), *boxes)
    return [value for value in outputs if isinstance(value, Tensor) and value.is_floating_point()]


@pytest.mark.parametrize("decoder", daily_sample(names("decoder"), 6))
def test_every_decoder_says_the_same(decoder: str) -> None:
    model = made("mobilenetv3_small_050", decoder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = inference_copy(model, CPU)
    images = torch.randint(0, 256, (3, 3, 64, 96), dtype=torch.uint8)
    for ours, theirs in zip(raw(fast, images), raw(model, images), strict=True):
        assert relative_difference(ours, theirs) < 2e-5
    assert sum(isinstance(module, PackedConv) for module in fast.modules()) > 30
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "decoder"),
    [
        *((name, "fcn") for name in ("test_resnet", "vgg11_bn", "efficientnet_lite0", "regnetx_002", "convnext_atto")),
        # their convolutions are asked for their geometry, or their weights for their device, while they run
        *((name, "linear") for name in ("davit_tiny", "edgenext_xx_small", "xcit_nano_12_p16_224")),
    ],
)
def test_every_kind_of_backbone_says_the_same(backbone: str, decoder: str) -> None:
    model = made(backbone, decoder)
    fast = inference_copy(model, CPU)
    height, width = model.backbone.fixed_size or (64, 96)
    images = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    for _ in range(2):
        for ours, theirs in zip(raw(fast, images), raw(model, images), strict=True):
            assert relative_difference(ours, theirs) < 2e-5
    assert sum(isinstance(module, PackedConv) for module in fast.modules()) > 3


class Twice(nn.Module):
    """The same modules under two names, of which the second one is called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()
        self.other = nn.ModuleList([self.conv, self.act])

    def forward(self, maps: Tensor) -> Tensor:
        return self.other[1](self.other[0](maps))


class BySize(nn.Module):
    """What follows the convolution depends on the size; and one whose result is turned, and read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.query, self.late = nn.Conv2d(3, 3, 1), nn.Sigmoid(), nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        found = self.conv(maps)
        if maps.shape[-1] % 2:
            found = F.pad(found, (0, 1))
        query = self.query(self.act(found))
        return self.late(query) @ query.mT


@pytest.mark.parametrize("module", [Twice(), BySize()], ids=["twice", "by size"])
def test_what_cannot_be_told_apart_stays(module: nn.Module) -> None:
    maps = [torch.randn(1, 3, 8, side) for side in (8, 9)]
    with torch.no_grad():
        expected = [module.eval()(own) for own in maps]
        pack_convolutions(module, *(lambda own=own: module(own) for own in maps))
        for own, theirs in zip(maps, expected, strict=True):
            torch.testing.assert_close(module(own), theirs, rtol=1e-5, atol=1e-6)


def test_half_precision_says_what_it_said_unpacked() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor does not compute in bfloat16")
    model = made("test_resnet", "fcn")
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with autocast_context("bf16", CPU):
        (ours,) = raw(inference_copy(model, CPU, "bf16"), images)
        (theirs,) = raw(inference_copy(model, CPU, "bf16", pack=False), images)
    assert relative_difference(ours.float(), theirs.float()) < 0.03


def test_models_to_be_compiled_or_exported_are_not_packed() -> None:
    model = made("test_resnet", "fcn")
    for copy in (optimized_copy(model), inference_copy(model, CPU, pack=False)):
        assert not any(isinstance(module, PackedConv) for module in copy.modules())


def test_activations_that_are_unknown_are_left_alone() -> None:
    assert step(nn.Softplus()) is None and step(nn.Conv2d(1, 1, 1)) is None
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softplus())
    packed(module, torch.randn(1, 3, 4, 4))
    assert isinstance(module[0], PackedConv) and isinstance(module[1], nn.Softplus)


def test_maps_of_another_size_are_computed_as_before() -> None:
    """A layout for another size may be ten times slower than none: only the first size is packed for."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU())
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU())
    plain.load_state_dict(module.state_dict())
    packed(module, torch.randn(1, 3, 9, 9))
    conv = module[0]
    assert isinstance(conv, PackedConv) and conv._packed is None, "looking at a model decides no size"
    assert conv.stride == (1, 1) and conv.weight.shape == (4, 3, 3, 3)
    with torch.no_grad():
        for size in ((2, 3, 16, 16), (1, 3, 16, 16), (2, 3, 20, 12)):
            maps = torch.randn(size)
            torch.testing.assert_close(module(maps), plain(maps), rtol=1e-5, atol=1e-6)
            assert conv._packed is not None and conv._packed[0] == (2, 3, 16, 16)


def test_a_shape_that_comes_twice_in_a_row_is_packed_in_place_of_the_first() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    first, other = torch.randn(1, 3, 16, 16), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        expected = module(first), module(other)
        packed(module, first)
        conv = module[0]
        shapes = []
        for maps, own in ((first, 0), (other, 1), (first, 0), (other, 1), (other, 1), (first, 0)):
            torch.testing.assert_close(module(maps), expected[own], rtol=1e-5, atol=1e-5)
            shapes.append(conv._packed[0][0])
    assert shapes == [1, 1, 1, 1, 4, 4]


def test_the_plain_weight_is_kept_only_where_other_shapes_come() -> None:
    for options in ({}, {"groups": 4, "kernel_size": 1}, {"groups": 8}):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(8, 8, **{"kernel_size": 3, "padding": 1, **options}))
        weight = module[0].weight.detach().clone()
        first, other = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 9, 9)
        with torch.no_grad():
            expected = module(other)
            packed(module, first)
            module(first)
            assert module[0]._plain is None
            assert torch.equal(module[0].weight, weight)
            torch.testing.assert_close(module(other), expected, rtol=1e-5, atol=1e-5)
            assert module[0]._plain is not None
