"""Backbones of transformers' Mask2Former and MaskFormer, and the task of their published models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from vertebra.errors import ConfigError
from vertebra.weights.peers.base import State
from vertebra.weights.peers.transformers_layers import resnet_of, resnet_rules

SWIN_TYPES = ("swin", "maskformer-swin")
SWIN_FIXED: dict[str, Any] = {
    "hidden_act": "gelu",
    "image_size": None,
    "layer_norm_eps": 1e-5,
    "mlp_ratio": 4.0,
    "num_channels": 3,
    "patch_size": 4,
    "qkv_bias": True,
    "use_absolute_embeddings": False,
}
"""Options of a Swin without a counterpart, since all published models agree on them; ``image_size`` has no effect."""

TRIPLES = (
    (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj."),
    (".attention.self.query.", ".attention.self.key.", ".attention.self.value."),
)
"""Names of a Swin's projections in transformers 5 and in published files."""


def mask_task(config: Mapping[str, Any]) -> str:
    """The task of a model: instances if its name has the word "instance", as the published ones have, else segment."""
    name = str(config.get("_name_or_path") or "")
    return "instances" if re.search(r"(?<![a-z])instances?(?![a-z])", name.lower()) else "segment"


def mask_backbone(config: Mapping[str, Any], peer: str) -> dict[str, Any]:
    """The backbone's section of the config of a model.

    Args:
        config: the ``config.json`` of the model.
        peer: the model, for messages.

    Raises:
        ConfigError: a backbone other than a ResNet and a Swin, or a form of them that timm does not have.
    """
    options = config.get("backbone_config") or {}
    kind = str(options.get("model_type", "swin"))
    if kind in SWIN_TYPES:
        name, arguments, indices = *_swin(options, peer), [0, 1, 2, 3]
    elif kind == "resnet":
        name, arguments = resnet_of(options, peer)
        indices = [1, 2, 3, 4]
    else:
        raise ConfigError(
            f"transformers' {peer} on a backbone '{kind}' is not supported, only on a Swin or on transformers' own ResNet"
        )
    return {
        "name": name,
        "out_indices": indices,
        "norm_eps": 1e-5,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "args": arguments,
    }


def _swin(options: Mapping[str, Any], peer: str) -> tuple[str, dict[str, Any]]:
    """timm's name and constructor arguments."""
    for name, value in SWIN_FIXED.items():
        if value is not None and options.get(name, value) != value:
            raise ConfigError(
                f"transformers' {peer}: a Swin with {name}={options[name]} is not supported, only {value}"
            )
    depths, heads = (
        list(options.get(name, default)) for name, default in (("depths", [2, 2, 6, 2]), ("num_heads", [3, 6, 12, 24]))
    )
    if len(depths) != 4:
        raise ConfigError(f"transformers' {peer}: a Swin with {len(depths)} stages is not supported, only with 4")
    return "swin_tiny_patch4_window7_224", {
        "embed_dim": int(options.get("embed_dim", 96)),
        "depths": depths,
        "num_heads": heads,
        "window_size": int(options.get("window_size", 7)),
        "drop_path_rate": float(options.get("drop_path_rate", 0.1)),
        "always_partition": True,
    }


def joined_projections(state: State) -> State:
    """Concatenates the query, key and value projections of a Swin, under the name ``attention.qkv``."""
    result = dict(state)
    for query, *further in TRIPLES:
        for name in state:
            if query in name:
                names = [name, *(name.replace(query, each) for each in further)]
                result[name.replace(query, ".attention.qkv.")] = torch.cat([result.pop(each) for each in names])
    return result


def mask_backbone_rules(config: Mapping[str, Any], theirs: str, branch: str) -> list[tuple[str, str]]:
    """Rules from the names of the backbone and of the norms behind it to ours, after `joined_projections`.

    Args:
        config: the ``config.json`` of the model.
        theirs: regular expression of the prefix of their names.
        branch: prefix of the names of our branch, whose neck has the norms.
    """
    ours = "backbone.body."
    if (config.get("backbone_config") or {}).get("model_type", "swin") not in SWIN_TYPES:
        return resnet_rules(theirs, ours)
    norms = [
        (rf"{theirs}hidden_states_norms\.(?:stage{number + 1}|{number})\.", f"{branch}.neck.norms.{number}.")
        for number in range(4)
    ]
    swin = rf"{theirs}(?:swin\.|model\.)?"
    block, target = rf"{swin}encoder\.layers\.(\d)\.blocks\.(\d+)\.", rf"{ours}layers.\1.blocks.\2."
    merging = [
        (rf"{swin}encoder\.layers\.{number}\.downsample\.", f"{ours}layers.{number + 1}.downsample.")
        for number in range(3)
    ]
    return [
        *norms,
        *merging,
        (rf"{swin}embeddings\.patch_embeddings\.projection\.", f"{ours}patch_embed.proj."),
        (rf"{swin}embeddings\.norm\.", f"{ours}patch_embed.norm."),
        (rf"{swin}layernorm\.", f"{ours}norm."),
        (rf"{block}layernorm_before\.", f"{target}norm1."),
        (rf"{block}layernorm_after\.", f"{target}norm2."),
        (rf"{block}attention\.qkv\.", f"{target}attn.qkv."),
        (rf"{block}attention\.(?:o_proj|output\.dense)\.", f"{target}attn.proj."),
        (
            rf"{block}attention\.(?:self|relative_position_bias)\.relative_position_bias_table",
            f"{target}attn.relative_position_bias_table",
        ),
        (rf"{block}(?:mlp\.fc1|intermediate\.dense)\.", f"{target}mlp.fc1."),
        (rf"{block}(?:mlp\.fc2|output\.dense)\.", f"{target}mlp.fc2."),
    ]
