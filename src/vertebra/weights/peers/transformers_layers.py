"""What several of transformers' models share in the names of their layers."""

from __future__ import annotations

import torch

from vertebra.weights.peers.base import State


def joined_queries_and_keys(state: State) -> State:
    """In self-attention, queries' and keys' projections as one, under the name ``qk_proj``."""
    result = dict(state)
    for name in state:
        if ".self_attn.q_proj." in name:
            keys = name.replace("q_proj", "k_proj")
            result[name.replace("q_proj", "qk_proj")] = torch.cat([result.pop(name), result.pop(keys)])
    return result


def resnet_stage_rules(theirs: str, ours: str, shortcut: int = 0) -> list[tuple[str, str]]:
    """From the four stages of transformers' own ResNet to timm's names.

    Args:
        theirs: a regular expression of what stands before their names.
        ours: what stands before ours.
        shortcut: the place of the convolution in timm's shortcut: 1 where average pooling comes first.
    """
    rules = []
    for stage in range(4):
        block, own = rf"{theirs}encoder\.stages\.{stage}\.layers\.(\d+)\.", rf"{ours}layer{stage + 1}.\1."
        rules += [
            (rf"{block}shortcut\.(?:1\.)?convolution\.", f"{own}downsample.{shortcut}."),
            (rf"{block}shortcut\.(?:1\.)?normalization\.", f"{own}downsample.{shortcut + 1}."),
        ]
        for step in range(3):
            rules += [
                (rf"{block}layer\.{step}\.convolution\.", f"{own}conv{step + 1}."),
                (rf"{block}layer\.{step}\.normalization\.", f"{own}bn{step + 1}."),
            ]
    return rules
