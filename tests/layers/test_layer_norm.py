"""Normalizations: legal group counts, a single value a channel, numbers equal to the plain forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vertebra.layers.norm import LayerNorm2d, PooledBatchNorm, group_norm


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 32), (512, 32), (64, 8), (96, 12), (24, 3), (7, 1), (67, 1), (1, 1), (320, 32)]
)
def test_the_number_of_groups_is_legal(channels: int, groups: int) -> None:
    norm = group_norm(channels)
    assert norm.num_groups == groups
    assert norm(torch.randn(1, channels, 2, 2)).shape == (1, channels, 2, 2)


def test_every_channel_count_is_legal() -> None:
    for channels in range(1, 300):
        assert channels % group_norm(channels).num_groups == 0


def test_a_single_value_is_normalized_by_the_running_statistics() -> None:
    norm = PooledBatchNorm(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.5]))
    out = norm(torch.tensor([5.0, 4.0]).reshape(1, 2, 1, 1))
    # (5 - 1) / 2 = 2; (4 + 2) / 3 * 3 + 0.5 = 6.5
    torch.testing.assert_close(out.flatten(), torch.tensor([2.0, 6.5]), atol=1e-4, rtol=0)
    assert torch.equal(norm.running_mean, torch.tensor([1.0, -2.0])), "one value tells nothing about its spread"
    out.sum().backward()
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 1, 2), (2, 3, 4, 4)])
def test_with_several_values_it_is_batch_norm(shape: tuple[int, ...]) -> None:
    ours, plain = PooledBatchNorm(3).train(), nn.BatchNorm2d(3).train()
    maps = torch.randn(shape)
    torch.testing.assert_close(ours(maps), plain(maps))
    torch.testing.assert_close(ours.running_var, plain.running_var)
    torch.testing.assert_close(ours.eval()(maps), plain.eval()(maps))


def test_layer_norm_of_a_map_normalizes_each_cell() -> None:
    norm = LayerNorm2d(2, eps=0.0)
    out = norm(torch.tensor([[3.0, 10.0], [5.0, 4.0]]).reshape(1, 2, 1, 2))
    torch.testing.assert_close(out, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).reshape(1, 2, 1, 2))
