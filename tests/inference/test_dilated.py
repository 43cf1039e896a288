"""Wide dilated convolutions as sums over groups of their channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vertebra import create_model
from vertebra.inference.dilated import WIDEST, SplitConv, split_dilated
from vertebra.inference.fast import running_copy
from vertebra.inference.packing import PackedConv, pack_convolutions

CPU = torch.device("cpu")


@pytest.mark.parametrize(("channels", "bias"), [(WIDEST + 1, True), (3 * WIDEST, False)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_sum_is_the_convolution(channels: int, bias: bool, packed: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 6, 3, stride=2, padding=4, dilation=3, bias=bias)
    model = nn.Sequential(conv).eval()
    maps = torch.randn(2, channels, 17, 13)
    with torch.inference_mode():
        expected = model(maps)
        assert split_dilated(model) == 1 and isinstance(model[0], SplitConv)
        if packed and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            assert pack_convolutions(model, lambda: model(maps)) == len(model[0].parts)
            assert all(isinstance(part, PackedConv) for part in model[0].parts)
        torch.testing.assert_close(model(maps), expected, rtol=1e-4, atol=1e-4)


def test_others_stay() -> None:
    wide = nn.Conv2d(WIDEST + 1, 4, 3)
    grouped = nn.Conv2d(2 * WIDEST, 2, 3, dilation=2, groups=2)
    narrow = nn.Conv2d(WIDEST, 4, 3, dilation=2)
    assert split_dilated(nn.Sequential(wide, grouped, narrow)) == 0


def test_a_model_in_bfloat16_has_its_dilated_convolutions_split() -> None:
    torch.manual_seed(0)
    aspp = {"name": "aspp", "separable": False, "channels": 16}
    model = create_model("resnet26", encoder=aspp, decoder="deeplabv3", classes=["a", "b"], image_size=64).eval()
    assert not any(isinstance(module, SplitConv) for module in running_copy(model, CPU).modules())
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        split = [module for module in running_copy(model, CPU, "bf16").modules() if isinstance(module, SplitConv)]
        assert len(split) == 3 and all(type(part) is PackedConv for module in split for part in module.parts)
