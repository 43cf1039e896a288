"""transformers' Mask2Former as a Vertebra model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.transformers_labels import class_names
from vertebra.weights.peers.transformers_layers import joined_queries_and_keys
from vertebra.weights.peers.transformers_mask_backbones import (
    joined_projections,
    mask_backbone,
    mask_backbone_rules,
    mask_task,
)

WIDTH, LEVELS, POINTS = 256, 3, 4
FIXED: dict[str, Any] = {
    "activation_function": "relu",
    "common_stride": 4,
    "enforce_input_projection": False,
    "feature_size": WIDTH,
    "feature_strides": [4, 8, 16, 32],
    "hidden_dim": WIDTH,
    "mask_feature_size": WIDTH,
    "pre_norm": False,
}
"""Options without a counterpart, since all published models agree on them; also the defaults of transformers."""

DECODERS = {"segment": "mask2former", "instances": "mask2former_instances"}
PIXELS, QUERIES = r"model\.pixel_level_module\.", r"model\.transformer_module\."


def mask2former(config: Mapping[str, Any], state: State) -> PeerModel:
    """``Mask2FormerForUniversalSegmentation``: a branch of the task instances or segment, see
    `vertebra.weights.peers.transformers_mask_backbones.mask_task`.

    Args:
        config: the model's ``config.json``; ``_name_or_path`` is its name.
        state: its tensors, with the names of published files or those of transformers 5.

    Raises:
        ConfigError: a variant that was never published, such as another activation.
    """
    for name, value in FIXED.items():
        if _plain(config.get(name, value)) != value:
            raise ConfigError(f"transformers' Mask2Former with {name}={config[name]} is not supported, only {value}")
    task, heads = mask_task(config), int(config.get("num_attention_heads", 8))
    branch = f"branches.{task}"
    normed = any(".hidden_states_norms." in name for name in state)
    model = {
        "backbone": mask_backbone(config, "Mask2Former"),
        "branches": {
            task: {
                "task": task,
                "classes": class_names(config, state["class_predictor.bias"].shape[0] - 1),
                **({"neck": {"name": "layer_norm"}} if normed else {}),
                "encoder": _encoder(config, state, heads),
                "decoder": _decoder(config, state, heads, task),
            }
        },
    }
    tensors = _finest_first(_divided(joined_queries_and_keys(joined_projections(state))), heads)
    rules = [*mask_backbone_rules(config, rf"{PIXELS}encoder\.", branch), *_encoder_rules(branch), *_rules(branch)]
    return PeerModel(
        model=model,
        resize_spec=ResizeSpec((800, 1333), "shortest_edge"),
        tensors=renamed(tensors, rules),
        dropped=(r".*num_batches_tracked", r".*relative_position_index", r"criterion\..*"),
        license="of the published model; Meta's Mask2Former weights have the licenses of their data sets",
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _encoder(config: Mapping[str, Any], state: State, heads: int) -> dict[str, Any]:
    return {
        "name": "deformable",
        "levels": LEVELS,
        "channels": WIDTH,
        "depth": _count(state, rf"{PIXELS}decoder\.encoder\.layers\.(\d+)\."),
        "heads": heads,
        "points": POINTS,
        "hidden": state["model.pixel_level_module.decoder.encoder.layers.0.fc1.bias"].shape[0],
        "dropout": float(config.get("dropout", 0.0)),
        "position": "edge",
    }


def _decoder(config: Mapping[str, Any], state: State, heads: int, task: str) -> dict[str, Any]:
    queries = state["model.transformer_module.queries_features.weight"].shape[0]
    options: dict[str, Any] = {
        "name": DECODERS[task],
        "channels": WIDTH,
        "heads": heads,
        "layers": _count(state, rf"{QUERIES}decoder\.layers\.(\d+)\."),
        "queries": queries,
        "hidden": state["model.transformer_module.decoder.layers.0.fc1.bias"].shape[0],
        "dropout": float(config.get("dropout", 0.0)),
        "points": int(config.get("train_num_points", 12544)),
        "none_weight": float(config.get("no_object_weight", 0.1)),
    }
    if task == "instances":
        options |= {"mask_cells": 112, "postprocess": {"score_threshold": 0.0, "max_detections": 100}}
    return options


def _count(state: State, layer: str) -> int:
    """Number of layers."""
    return len({match[1] for name in state if (match := re.match(layer, name))})


def _divided(state: State) -> State:
    """The joined projections of the cross-attention as those of queries, keys and values."""
    result = dict(state)
    for name in state:
        if ".cross_attn.in_proj_" in name:
            kind = name.rpartition("_")[2]
            for part, value in zip(("queries", "keys", "values"), result.pop(name).chunk(3), strict=True):
                result[name.replace(f"in_proj_{kind}", f"{part}.{kind}")] = value
    return result


def _finest_first(state: State, heads: int) -> State:
    """Tensors with an axis of levels, the coarsest one first, in our order."""
    result = dict(state)
    for name, value in state.items():
        if name.endswith(("level_embed", "level_embed.weight")):
            result[name] = value.flip(0)
        elif ".self_attn.sampling_offsets." in name or ".self_attn.attention_weights." in name:
            by_level = value.reshape(heads, LEVELS, -1, *value.shape[1:])
            result[name] = by_level.flip(1).reshape(value.shape)
    return result


def _encoder_rules(branch: str) -> list[tuple[str, str]]:
    theirs, ours = rf"{PIXELS}decoder\.", f"{branch}.encoder."
    layer, target = rf"{theirs}encoder\.layers\.(\d+)\.", rf"{ours}layers.\1."
    attention = {
        "sampling_offsets": "offsets",
        "attention_weights": "weights",
        "value_proj": "values",
        "output_proj": "out",
    }
    return [
        *(
            (rf"{theirs}input_projections\.{number}\.", f"{ours}project.{LEVELS - 1 - number}.")
            for number in range(LEVELS)
        ),
        (rf"{theirs}level_embed", f"{ours}level_code"),
        *((rf"{layer}self_attn\.{name}\.", f"{target}reading.{new}.") for name, new in attention.items()),
        (rf"{layer}self_attn_layer_norm\.", f"{target}norm1."),
        (rf"{layer}fc1\.", f"{target}mlp.0."),
        (rf"{layer}fc2\.", f"{target}mlp.3."),
        (rf"{layer}final_layer_norm\.", f"{target}norm2."),
    ]


def _rules(branch: str) -> list[tuple[str, str]]:
    ours = f"{branch}.decoder.network."
    layer, target = rf"{QUERIES}decoder\.layers\.(\d+)\.", rf"{ours}layers.\1."
    return [
        (rf"{PIXELS}decoder\.adapter_1\.", f"{ours}lateral.0."),
        (rf"{PIXELS}decoder\.layer_1\.", f"{ours}smooth.0."),
        (rf"{PIXELS}decoder\.mask_projection\.", f"{ours}pixel_projection."),
        (rf"{QUERIES}queries_embedder\.", f"{ours}query_position."),
        (rf"{QUERIES}queries_features\.", f"{ours}query_content."),
        (rf"{QUERIES}level_embed\.weight", f"{ours}level_code"),
        (rf"{QUERIES}decoder\.layernorm\.", f"{ours}norm."),
        (rf"{layer}cross_attn\.out_proj\.", f"{target}reading.out."),
        (rf"{layer}cross_attn\.", f"{target}reading."),
        (rf"{layer}cross_attn_layer_norm\.", f"{target}norm1."),
        (rf"{layer}self_attn\.qk_proj\.", f"{target}attention.queries_keys."),
        (rf"{layer}self_attn\.v_proj\.", f"{target}attention.values."),
        (rf"{layer}self_attn\.(?:o|out)_proj\.", f"{target}attention.out."),
        (rf"{layer}self_attn_layer_norm\.", f"{target}norm2."),
        (rf"{layer}fc1\.", f"{target}mlp.0."),
        (rf"{layer}fc2\.", f"{target}mlp.3."),
        (rf"{layer}final_layer_norm\.", f"{target}norm3."),
        *(
            (rf"{QUERIES}decoder\.mask_predictor\.mask_embedder\.{number}\.0\.", f"{ours}embed.{2 * number}.")
            for number in range(3)
        ),
        (r"class_predictor\.", f"{ours}classify."),
    ]
