"""Attention from queries to cells: by hand, and against torch's own."""

from __future__ import annotations

import torch
from torch import nn

from vertebra.layers.cross_attention import CrossAttention, QueryLayer


def test_values_do_not_know_where_they_are_and_hidden_cells_are_not_read() -> None:
    """Queries and keys see positions alone; the query stands at the second cell, and reads it; hidden, the next best."""
    layer = CrossAttention(2, 1)
    with torch.no_grad():
        for linear in (layer.queries, layer.keys, layer.values, layer.out):
            linear.weight.copy_(torch.eye(2))
    cells = torch.tensor([[[1e-3, 0.0], [2e-3, 0.0], [3e-3, 0.0]]])
    places = torch.tensor([[[0.0, 50.0], [0.0, 100.0], [0.0, -100.0]]])
    query = torch.zeros(1, 1, 2)
    with torch.no_grad():
        found = layer(query, places[:, 1:2], cells, places)
        hidden = layer(query, places[:, 1:2], cells, places, torch.tensor([[[[True, False, True]]]]))
    torch.testing.assert_close(found, cells[:, 1:2])
    torch.testing.assert_close(hidden, cells[:, :1])


def test_equals_torchs_own() -> None:
    torch.manual_seed(0)
    layer, other = CrossAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    parts = (layer.queries, layer.keys, layer.values)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        other.out_proj.load_state_dict(layer.out.state_dict())
        queries, position, cells, places = (torch.randn(2, count, 16) for count in (5, 5, 7, 7))
        seen = torch.arange(7) < torch.tensor([[7], [4]])
        found = layer(queries, position, cells, places, seen[:, None, None])
        expected = other(queries + position, cells + places, cells, key_padding_mask=~seen)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_layer_equals_torchs_own() -> None:
    """Without positions it is the decoder's layer of Vaswani et al., which torch has."""
    torch.manual_seed(0)
    layer = QueryLayer(16, 4, 24)
    other = nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    own = layer.attention.queries_keys, layer.attention.values
    read = layer.reading.queries, layer.reading.keys, layer.reading.values
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3)
        for parts, theirs, out in (
            (own, other.self_attn, layer.attention.out),
            (read, other.multihead_attn, layer.reading.out),
        ):
            theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.load_state_dict(out.state_dict())
        for number in (1, 2, 3):
            getattr(other, f"norm{number}").load_state_dict(getattr(layer, f"norm{number}").state_dict())
        other.linear1.load_state_dict(layer.mlp[0].state_dict())
        other.linear2.load_state_dict(layer.mlp[3].state_dict())
        queries, cells = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
        nowhere = torch.zeros(1, 1, 16)
        seen = torch.arange(7) < torch.tensor([[7], [4]])
        found = layer(queries, nowhere, cells, nowhere, seen[:, None, None])
        expected = other(queries, cells, memory_key_padding_mask=~seen)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
