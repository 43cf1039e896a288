"""The precision of a run, and the kernel that decides it on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vertebra
from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.training.precision import choose_precision, dilated_groups, strided_on_a_column


def test_dilated_grouped_convolutions_are_found() -> None:
    plain = vertebra.create_model("mobilenetv2_035", decoder="upsample", classes=["a", "b"], image_size=64)
    assert dilated_groups(plain) is None
    dilated = vertebra.create_model(
        "resnet10t", encoder="aspp", decoder="deeplabv3plus", classes=["a", "b"], image_size=64
    )
    assert dilated_groups(dilated) == "branches.segment.encoder.branches.1.0.0"
    assert dilated_groups(nn.Conv2d(8, 8, 3, dilation=2)) is None


def test_bfloat16_is_refused_where_its_gradients_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    plain, dilated = nn.Conv2d(8, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3, dilation=2, groups=8))
    recipe = TrainConfig(accelerator="cpu")
    assert choose_precision(recipe, plain) == "bf16-mixed"
    assert choose_precision(recipe, dilated) == "32-true"
    asked = TrainConfig(accelerator="cpu", precision="bf16-mixed")
    assert choose_precision(asked, plain) == "bf16-mixed"
    with pytest.raises(ConfigError, match="gradients of dilated grouped convolutions are wrong, .*take 32"):
        choose_precision(asked, dilated)
    assert choose_precision(TrainConfig(accelerator="cpu", precision="32"), dilated) == "32-true"
    with pytest.raises(ConfigError, match="16-mixed is for GPUs; on a CPU take bf16-mixed"):
        choose_precision(TrainConfig(accelerator="cpu", precision="16-mixed"), plain)


def test_a_canvas_whose_coarsest_maps_are_a_column_trains_in_32_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stride of 2 on a map of one column: the pyramid's last level on 64 columns, and none on 160."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    model = vertebra.create_model("mobilenetv2_035", neck="fpn", decoder="fcos", classes=["a"], image_size=(64, 64))
    last = "branches.detect.neck.coarser.convs.1"
    assert strided_on_a_column(model, (64, 64)) == last and strided_on_a_column(model, (64, 160)) is None
    assert model.training
    assert choose_precision(TrainConfig(accelerator="cpu", image_size=[64, 64]), model) == "32-true"
    assert choose_precision(TrainConfig(accelerator="cpu", image_size=[64, 160]), model) == "bf16-mixed"
    with pytest.raises(ConfigError, match=f"maps of one column are wrong, .*{last}.* take 32"):
        choose_precision(TrainConfig(accelerator="cpu", image_size=[64, 64], precision="bf16-mixed"), model)


def test_the_gradients_of_mixed_precision_are_right_on_this_machine() -> None:
    """Of convolutions as models have them; dilated grouped ones are left out, see `choose_precision`."""
    for groups, dilation, kernel in ((1, 1, 3), (1, 6, 3), (64, 1, 3), (64, 1, 5), (8, 1, 3)):
        layer = nn.Conv2d(64, 64, kernel, 1, dilation * (kernel // 2), dilation, groups, bias=False)
        layer = layer.to(memory_format=torch.channels_last)
        images = torch.randn(2, 64, 44, 60).to(memory_format=torch.channels_last)
        gradients = []
        for mixed in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                out = layer(images)
            (gradient,) = torch.autograd.grad(out.float().square().mean(), layer.weight)
            gradients.append(gradient)
        worst = (gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()
        assert float(worst) < 0.05, (groups, dilation, kernel)
