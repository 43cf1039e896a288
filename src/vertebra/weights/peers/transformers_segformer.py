"""transformers' SegFormer as a Vertebra model, on timm's PVT v2 with the channels of the mix transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vertebra.errors import WeightsError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed

LICENSE = "of the published model; NVIDIA's SegFormer weights are for research and evaluation only"
BODY = "backbone.body"
DECODER = "branches.segment.decoder"
# transformers used other names before version 5; both kinds of files exist
OLDER = (
    (r"segformer\.encoder\.patch_embeddings\.(\d)\.", r"segformer.stages.\1.patch_embeddings."),
    (r"segformer\.encoder\.block\.(\d)\.(\d+)\.layer_norm_1\.", r"segformer.stages.\1.blocks.\2.layernorm_before."),
    (r"segformer\.encoder\.block\.(\d)\.(\d+)\.layer_norm_2\.", r"segformer.stages.\1.blocks.\2.layernorm_after."),
    (
        r"segformer\.encoder\.block\.(\d)\.(\d+)\.attention\.self\.(q|k|v)(?:uery|ey|alue)\.",
        r"segformer.stages.\1.blocks.\2.attention.\3_proj.",
    ),
    (
        r"segformer\.encoder\.block\.(\d)\.(\d+)\.attention\.self\.sr\.",
        r"segformer.stages.\1.blocks.\2.attention.sequence_reduction.sequence_reduction.",
    ),
    (
        r"segformer\.encoder\.block\.(\d)\.(\d+)\.attention\.self\.layer_norm\.",
        r"segformer.stages.\1.blocks.\2.attention.sequence_reduction.layer_norm.",
    ),
    (
        r"segformer\.encoder\.block\.(\d)\.(\d+)\.attention\.output\.dense\.",
        r"segformer.stages.\1.blocks.\2.attention.o_proj.",
    ),
    (r"segformer\.encoder\.block\.(\d)\.(\d+)\.mlp\.dense([12])\.", r"segformer.stages.\1.blocks.\2.mlp.fc\3."),
    (r"segformer\.encoder\.block\.(\d)\.(\d+)\.", r"segformer.stages.\1.blocks.\2."),
    (r"segformer\.encoder\.layer_norm\.(\d)\.", r"segformer.stages.\1.layer_norm."),
    (r"decode_head\.linear_c\.", "decode_head.linear_projections."),
)
BLOCK = r"segformer\.stages\.(\d)\.blocks\.(\d+)\."
OURS = rf"{BODY}.stages.\1.blocks.\2."
RULES = (
    (r"segformer\.stages\.0\.patch_embeddings\.proj\.", f"{BODY}.patch_embed.proj."),
    (r"segformer\.stages\.0\.patch_embeddings\.layer_norm\.", f"{BODY}.patch_embed.norm."),
    (r"segformer\.stages\.(\d)\.patch_embeddings\.proj\.", rf"{BODY}.stages.\1.downsample.proj."),
    (r"segformer\.stages\.(\d)\.patch_embeddings\.layer_norm\.", rf"{BODY}.stages.\1.downsample.norm."),
    (r"segformer\.stages\.(\d)\.layer_norm\.", rf"{BODY}.stages.\1.norm."),
    (BLOCK + r"layernorm_before\.", OURS + "norm1."),
    (BLOCK + r"layernorm_after\.", OURS + "norm2."),
    (BLOCK + r"attention\.q_proj\.", OURS + "attn.q."),
    (BLOCK + r"attention\.kv_proj\.", OURS + "attn.kv."),
    (BLOCK + r"attention\.o_proj\.", OURS + "attn.proj."),
    (BLOCK + r"attention\.sequence_reduction\.sequence_reduction\.", OURS + "attn.sr."),
    (BLOCK + r"attention\.sequence_reduction\.layer_norm\.", OURS + "attn.norm."),
    (BLOCK + r"mlp\.dwconv\.dwconv\.", OURS + "mlp.dwconv."),
    (BLOCK + r"mlp\.(fc[12])\.", OURS + r"mlp.\3."),
    (r"decode_head\.linear_projections\.(\d)\.proj\.", rf"{DECODER}.project.\1."),
    (r"decode_head\.linear_fuse\.", f"{DECODER}.fuse.0."),
    (r"decode_head\.batch_norm\.", f"{DECODER}.fuse.1."),
    (r"decode_head\.classifier\.", f"{DECODER}.classifier.1."),
)


def segformer(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> PeerModel:
    """A SegFormer for semantic segmentation.

    Args:
        config: its ``config.json``.
        state: with the parameter names of transformers 4 or 5.

    Raises:
        WeightsError: the configuration is a variant that was never published.
    """
    _check(config)
    tensors = renamed(_joined(renamed(state, OLDER)), RULES)
    for name in [name for name in tensors if re.match(rf"{DECODER}\.project\.\d\.weight", name)]:
        tensors[name] = tensors[name][:, :, None, None]
    labels = config.get("id2label") or {
        number: f"class_{number}" for number in range(len(tensors[f"{DECODER}.classifier.1.bias"]))
    }
    model = {
        "backbone": mix_transformer(config),
        "branches": {
            "segment": {
                "decoder": {
                    "name": "segformer",
                    "channels": int(config["decoder_hidden_size"]),
                    "dropout": float(config.get("classifier_dropout_prob", 0.1)),
                    "fit": "size",
                },
                "classes": [str(labels[key]) for key in sorted(labels, key=int)],
            }
        },
    }
    return PeerModel(model, ResizeSpec((512, 512), "resize"), tensors, (r"classifier\..*",), LICENSE)


def mix_transformer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone: timm's PVT v2 with the sizes of the mix transformer."""
    return {
        "name": "pvt_v2_b0",
        "norm_eps": 1e-5,
        "args": {
            "depths": list(config["depths"]),
            "embed_dims": list(config["hidden_sizes"]),
            "num_heads": list(config["num_attention_heads"]),
            "sr_ratios": list(config["sr_ratios"]),
            "mlp_ratios": list(config["mlp_ratios"]),
        },
    }


def _check(config: Mapping[str, Any]) -> None:
    supported = {
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "num_encoder_blocks": 4,
        "hidden_act": "gelu",
        "num_channels": 3,
        "reshape_last_stage": True,
    }
    for key, value in supported.items():
        if config.get(key, value) != value:
            raise WeightsError(f"transformers: a SegFormer with {key} {config[key]} is not supported; only {value} is")


def _joined(state: State) -> State:
    """Concatenates the key and value projections, as in timm."""
    result: State = {}
    for name, value in state.items():
        if ".attention.k_proj." in name:
            values = state[name.replace(".k_proj.", ".v_proj.")]
            result[name.replace(".k_proj.", ".kv_proj.")] = torch.cat([value, values])
        elif ".attention.v_proj." not in name:
            result[name] = value
    return result
