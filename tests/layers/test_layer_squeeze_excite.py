"""Concurrent squeeze and excitation by hand, blind to padding."""

from __future__ import annotations

import torch

from vertebra.features import Frame
from vertebra.layers.squeeze_excite import ConcurrentSqueezeExcite


def test_by_hand() -> None:
    layer = ConcurrentSqueezeExcite(2, reduction=2)
    with torch.no_grad():
        layer.channels[0].weight.copy_(torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1))
        layer.channels[0].bias.zero_()
        layer.channels[2].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        layer.channels[2].bias.zero_()
        layer.cells[0].weight.zero_()
        layer.cells[0].bias.zero_()
        maps = torch.tensor([[[[1.0, 3.0, 50.0]], [[0.0, -2.0, 50.0]]]])  # the last cell is padding
        found = layer(maps, 8, Frame((8, 24), torch.tensor([[8, 16]])))
    weights = torch.sigmoid(torch.tensor([1.0, -1.0]))  # the means are 2 and -1, their sum 1; cells weigh one half
    torch.testing.assert_close(found, maps * (weights.reshape(1, 2, 1, 1) + 0.5))


def test_narrow_maps_keep_one_channel_inside() -> None:
    assert ConcurrentSqueezeExcite(8).channels[0].out_channels == 1
