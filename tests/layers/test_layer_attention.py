"""Attention and positions, against what they are by definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vertebra.features import Frame
from vertebra.layers.attention import SelfAttention, TransformerLayer
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import sine_position


def test_equal_to_torch_on_the_same_weights() -> None:
    ours, theirs = SelfAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    tokens = torch.randn(2, 5, 16)
    hidden = torch.tensor([[False] * 5, [False, False, False, True, True]])
    bias = torch.where(hidden, -1e4, 0.0)[:, None, None]
    expected, _ = theirs(tokens, tokens, tokens, key_padding_mask=hidden)
    torch.testing.assert_close(ours(tokens, bias), expected)


def test_a_layer_equals_torch_pre_norm_layer() -> None:
    ours = TransformerLayer(16, 4, mlp_ratio=2.0).eval()
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    names = {
        "self_attn.in_proj_weight": "attention.qkv.weight",
        "self_attn.in_proj_bias": "attention.qkv.bias",
        "self_attn.out_proj": "attention.out",
        "linear1": "mlp.0",
        "linear2": "mlp.3",
    }
    own = ours.state_dict()

    def renamed(key: str) -> str:
        for theirs_name, ours_name in names.items():
            if key.startswith(theirs_name):
                return key.replace(theirs_name, ours_name)
        return key

    theirs.load_state_dict({key: own[renamed(key)] for key in theirs.state_dict()})
    tokens = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_sine_positions_by_hand() -> None:
    code = sine_position(2, 3, 8, torch.zeros(1), temperature=100.0)
    assert code.shape == (6, 8)
    # two frequencies: 1 and 100 ** -0.5 = 0.1; the cell of row 1, column 2 is the sixth
    expected = [math.sin(1), math.sin(0.1), math.cos(1), math.cos(0.1)]
    expected += [math.sin(2), math.sin(0.2), math.cos(2), math.cos(0.2)]
    torch.testing.assert_close(code[5], torch.tensor(expected))
    torch.testing.assert_close(code[0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))


def test_every_cell_has_its_own_position_whatever_the_size() -> None:
    code = sine_position(9, 7, 64, torch.zeros(1))
    distances = torch.cdist(code, code) + 10 * torch.eye(63)
    assert distances.min() > 0.1
    larger = sine_position(20, 30, 64, torch.zeros(1)).reshape(20, 30, 64)
    torch.testing.assert_close(larger[:9, :7].reshape(63, 64), code)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_positions_come_in_the_dtype_of_the_tokens(dtype: torch.dtype) -> None:
    code = sine_position(40, 40, 16, torch.zeros(1, dtype=dtype))
    assert code.dtype == dtype
    torch.testing.assert_close(code.float(), sine_position(40, 40, 16, torch.zeros(1)), atol=0.005, rtol=0)


def test_valid_cells_by_hand() -> None:
    frame = Frame((20, 16), torch.tensor([[20, 16], [9, 8], [1, 1]]))
    cells = valid_cells(frame, torch.zeros(3, 5, 3, 2), 8)
    assert cells.int().tolist() == [[[1, 1], [1, 1], [1, 1]], [[1, 0], [1, 0], [0, 0]], [[1, 0], [0, 0], [0, 0]]]
