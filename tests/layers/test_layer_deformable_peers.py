"""Deformable attention and the encoder's layer against transformers' on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vertebra.encoders.deformable import DeformableLayer
from vertebra.layers.deformable import DeformableAttention

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from transformers.models.deformable_detr import modeling_deformable_detr as first  # noqa: E402
from transformers.models.rt_detr_v2 import modeling_rt_detr_v2 as second  # noqa: E402

SHAPES = [(7, 5), (4, 3), (2, 2)]
CELLS = sum(rows * columns for rows, columns in SHAPES)
NAMES = {
    "sampling_offsets": "offsets",
    "attention_weights": "weights",
    "value_proj": "values",
    "output_proj": "out",
}


@torch.no_grad()
def randomize(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.normal_(0, 0.4)


def ours_of(theirs: nn.Module, **options: Any) -> DeformableAttention:
    layer = DeformableAttention(32, 4, 3, 2, **options)
    state = theirs.state_dict()
    layer.load_state_dict(
        {f"{own}.{kind}": state[f"{name}.{kind}"] for name, own in NAMES.items() for kind in ("weight", "bias")}
    )
    return layer.eval()


def inputs(queries: int, numbers: int, levels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, references, cells and what of them is hidden."""
    torch.manual_seed(3)
    reference = torch.rand(2, queries, levels, numbers)
    hidden = torch.rand(2, CELLS) < 0.3
    return torch.randn(2, queries, 32), reference, torch.randn(2, CELLS, 32), hidden


def run(theirs: nn.Module, queries: Tensor, reference: Tensor, cells: Tensor, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = theirs.eval()(
            hidden_states=queries,
            attention_mask=~hidden,
            encoder_hidden_states=cells,
            reference_points=reference,
            spatial_shapes=torch.tensor(SHAPES),
            spatial_shapes_list=SHAPES,
            level_start_index=torch.tensor([0, 35, 47]),
        )[0]
    return found


@pytest.mark.parametrize("numbers", [2, 4])
def test_equals_deformable_detr(numbers: int) -> None:
    config = transformers.DeformableDetrConfig(d_model=32, num_feature_levels=3)
    theirs = first.DeformableDetrMultiscaleDeformableAttention(config, num_heads=4, n_points=2)
    randomize(theirs)
    given = inputs(6, numbers, 3)
    with torch.no_grad():
        found = ours_of(theirs)(given[0], given[1], given[2], SHAPES, given[3])
    torch.testing.assert_close(found, run(theirs, *given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["default", "discrete"])
def test_equals_rt_detr_v2(method: str) -> None:
    config = transformers.RTDetrV2Config(
        d_model=32, decoder_attention_heads=4, decoder_n_points=2, decoder_method=method, decoder_offset_scale=0.7
    )
    theirs = second.RTDetrV2MultiscaleDeformableAttention(config)
    randomize(theirs)
    given = inputs(6, 4, 1)
    own = ours_of(theirs, method="discrete" if method == "discrete" else "bilinear", offset_scale=0.7)
    with torch.no_grad():
        found = own(given[0], given[1], given[2], SHAPES, given[3])
    torch.testing.assert_close(found, run(theirs, *given), atol=1e-5, rtol=1e-5)


def test_the_encoders_layer_equals_deformable_detr() -> None:
    config = transformers.DeformableDetrConfig(
        d_model=32, num_feature_levels=3, encoder_attention_heads=4, encoder_n_points=2, encoder_ffn_dim=48
    )
    theirs = first.DeformableDetrEncoderLayer(config).eval()
    randomize(theirs)
    ours = DeformableLayer(32, 4, 3, 2, 48, 0.0).eval()
    ours.reading = ours_of(theirs.self_attn)
    pairs = [
        (ours.norm1, theirs.self_attn_layer_norm),
        (ours.norm2, theirs.final_layer_norm),
        (ours.mlp[0], theirs.mlp.fc1),
        (ours.mlp[3], theirs.mlp.fc2),
    ]
    for own, other in pairs:
        own.load_state_dict(other.state_dict())
    position, reference, cells, hidden = inputs(CELLS, 2, 3)
    with torch.no_grad():
        found = ours(cells, position, reference, SHAPES, hidden)
        expected = theirs(
            cells,
            ~hidden,
            spatial_position_embeddings=position,
            reference_points=reference,
            spatial_shapes=torch.tensor(SHAPES),
            spatial_shapes_list=SHAPES,
            level_start_index=torch.tensor([0, 35, 47]),
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
