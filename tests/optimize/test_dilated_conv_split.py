"""Wide dilated convolutions as sums over groups of their channels."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra import create_model
from vertebra.optimize.conv_prepack import PackedConv, pack_convolutions
from vertebra.optimize.dilated_conv_split import GROUP, WIDE, SplitConv, split_dilated
from vertebra.optimize.inference_copy import inference_copy

CPU = torch.device("cpu")
BF16 = torch.bfloat16
pytestmark = pytest.mark.skipif(not torch.cpu._is_amx_tile_supported(), reason="this processor has no AMX")


def packed(*modules: nn.Module, channels: int) -> nn.Sequential:
    model = copy.deepcopy(nn.Sequential(*modules)).to(BF16, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    pack_convolutions(model, lambda: model(torch.zeros(1, channels, 9, 9, dtype=BF16)))
    return model


@pytest.mark.parametrize(("channels", "bias"), [(WIDE + 1, True), (3 * GROUP, False)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, None])
def test_the_sum_is_the_convolution(channels: int, bias: bool, activation: type[nn.Module] | None) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 6, 3, stride=2, padding=4, dilation=3, bias=bias)
    plain = nn.Sequential(conv, *([] if activation is None else [activation()])).eval()
    maps = torch.randn(2, channels, 17, 13)
    with torch.inference_mode():
        expected = plain(maps)
        whole = packed(*plain, channels=channels)(maps.to(BF16)).float()
        model = packed(*plain, channels=channels)
        assert split_dilated(model) == 1 and isinstance(model[0], SplitConv)
        found = model(maps.to(BF16)).float()
    error = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    unsplit = (whole - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 2 * unsplit < 0.01


def test_others_stay() -> None:
    for conv in (
        nn.Conv2d(WIDE, 4, 3),
        nn.Conv2d(WIDE, 2, 3, dilation=2, groups=2),
        nn.Conv2d(WIDE - 1, 4, 3, dilation=2),
    ):
        assert split_dilated(packed(conv, channels=conv.in_channels)) == 0
    model = nn.Sequential(nn.Conv2d(WIDE, 4, 3, dilation=2)).eval()
    pack_convolutions(model, lambda: model(torch.zeros(1, WIDE, 9, 9)))
    assert isinstance(model[0], PackedConv) and split_dilated(model) == 0  # of float32


class ReadsTheWeight(nn.Module):
    """A convolution that is not called as one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDE, 4, 3, dilation=2)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.conv.weight, self.conv.bias, dilation=2)


def test_a_convolution_whose_weight_is_read_stays() -> None:
    model = packed(ReadsTheWeight(), channels=WIDE)
    assert split_dilated(model) == 0 and model(torch.zeros(1, WIDE, 9, 9, dtype=BF16)).shape == (1, 4, 5, 5)


def test_a_model_in_bfloat16_has_its_dilated_convolutions_split() -> None:
    torch.manual_seed(0)
    aspp = {"name": "aspp", "separable": False, "channels": 16}
    model = create_model("resnet26", encoder=aspp, decoder="deeplabv3", classes=["a", "b"], image_size=64).eval()
    assert not any(isinstance(module, SplitConv) for module in inference_copy(model, CPU).modules())
    split = [module for module in inference_copy(model, CPU, "bf16").modules() if isinstance(module, SplitConv)]
    assert len(split) == 3 and all(type(part) is PackedConv for module in split for part in module.parts)
