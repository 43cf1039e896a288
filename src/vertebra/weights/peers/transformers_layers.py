"""Renaming of layers that several of transformers' models share."""

from __future__ import annotations

import torch

from vertebra.weights.peers.base import State


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
