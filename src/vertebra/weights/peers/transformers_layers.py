"""Renaming of layers that several of transformers' models share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vertebra.errors import ConfigError
from vertebra.weights.peers.base import State

RESNETS = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (2, 2, 2, 2)): "resnet26",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}

QUERY_NORMS = {"self_attn_layer_norm": "norm1", "encoder_attn_layer_norm": "norm2", "final_layer_norm": "norm3"}
"""The norms of a layer of DETR's decoder."""


def joined_queries_and_keys(state: State) -> State:
    """Concatenates the query and key projections of self-attention, under the name ``qk_proj``."""
    result = dict(state)
    for name in state:
        if ".self_attn.q_proj." in name:
            keys = name.replace("q_proj", "k_proj")
            result[name.replace("q_proj", "qk_proj")] = torch.cat([result.pop(name), result.pop(keys)])
    return result


def resnet_stage_rules(theirs: str, ours: str, shortcut: int = 0) -> list[tuple[str, str]]:
    """Rules from the names in the four stages of transformers' own ResNet to timm's.

    Args:
        theirs: regular expression of the prefix of their names.
        ours: prefix of our names.
        shortcut: index of the convolution in timm's shortcut: 1 if average pooling comes first.
    """
    rules = []
    for stage in range(4):
        block, target = rf"{theirs}encoder\.stages\.{stage}\.layers\.(\d+)\.", rf"{ours}layer{stage + 1}.\1."
        rules += [
            (rf"{block}shortcut\.(?:1\.)?convolution\.", f"{target}downsample.{shortcut}."),
            (rf"{block}shortcut\.(?:1\.)?normalization\.", f"{target}downsample.{shortcut + 1}."),
        ]
        for step in range(3):
            rules += [
                (rf"{block}layer\.{step}\.convolution\.", f"{target}conv{step + 1}."),
                (rf"{block}layer\.{step}\.normalization\.", f"{target}bn{step + 1}."),
            ]
    return rules


def resnet_rules(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Rules from the names of transformers' own ResNet to timm's; arguments as for `resnet_stage_rules`."""
    stem = [
        (rf"{theirs}embedder\.embedder\.convolution\.", f"{ours}conv1."),
        (rf"{theirs}embedder\.embedder\.normalization\.", f"{ours}bn1."),
    ]
    return [*stem, *resnet_stage_rules(theirs, ours)]


def resnet_of(config: Mapping[str, Any], peer: str) -> tuple[str, dict[str, Any]]:
    """The timm model equivalent to transformers' own ResNet, and its constructor arguments.

    Args:
        config: its ``backbone_config``.
        peer: the model on it, for messages.

    Raises:
        ConfigError: it is another backbone, or a form of ResNet that timm does not have.
    """
    if config.get("model_type", "resnet") != "resnet":
        raise ConfigError(
            f"transformers' {peer} on a backbone '{config['model_type']}' is not supported, only on a ResNet"
        )
    kind, depths = config.get("layer_type", "bottleneck"), tuple(config.get("depths", (3, 4, 6, 3)))
    hidden_sizes = [channels * (4 if kind == "bottleneck" else 1) for channels in (64, 128, 256, 512)]
    unsupported = {
        "embedding_size": config.get("embedding_size", 64) != 64,
        "hidden_sizes": list(config.get("hidden_sizes", [256, 512, 1024, 2048])) != hidden_sizes,
        "hidden_act": config.get("hidden_act", "relu") != "relu",
        "downsample_in_first_stage": bool(config.get("downsample_in_first_stage", False)),
        "downsample_in_bottleneck": bool(config.get("downsample_in_bottleneck", False)),
        "depths": len(depths) != 4,
    }
    names = [name for name, differs in unsupported.items() if differs]
    if names:
        raise ConfigError(f"transformers' {peer}: the backbone's {', '.join(names)} are not those of a ResNet")
    known = RESNETS.get((kind, depths))
    if known is not None:
        return known, {}
    return ("resnet50" if kind == "bottleneck" else "resnet18"), {"layers": list(depths)}


def detr_layer_rules(theirs: str, ours: str, norms: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rules for a layer of DETR's encoder or decoder; names differ between published files and transformers 5."""
    return [
        (rf"{theirs}\.self_attn\.qk_proj\.", f"{ours}.attention.queries_keys."),
        (rf"{theirs}\.self_attn\.v_proj\.", f"{ours}.attention.values."),
        (rf"{theirs}\.self_attn\.(?:o|out)_proj\.", f"{ours}.attention.out."),
        (rf"{theirs}\.encoder_attn\.q_proj\.", f"{ours}.reading.queries."),
        (rf"{theirs}\.encoder_attn\.k_proj\.", f"{ours}.reading.keys."),
        (rf"{theirs}\.encoder_attn\.v_proj\.", f"{ours}.reading.values."),
        (rf"{theirs}\.encoder_attn\.(?:o|out)_proj\.", f"{ours}.reading.out."),
        (rf"{theirs}\.(?:mlp\.)?fc1\.", f"{ours}.mlp.0."),
        (rf"{theirs}\.(?:mlp\.)?fc2\.", f"{ours}.mlp.3."),
        *((rf"{theirs}\.{norm}\.", f"{ours}.{our_norm}.") for norm, our_norm in norms.items()),
    ]
