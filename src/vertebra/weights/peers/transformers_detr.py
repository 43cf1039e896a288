"""transformers' DETR as a Vertebra model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.transformers_labels import class_names
from vertebra.weights.peers.transformers_layers import (
    QUERY_NORMS,
    detr_layer_rules,
    joined_queries_and_keys,
    resnet_of,
    resnet_rules,
)

FIXED: dict[str, Any] = {
    "activation_function": "relu",
    "auxiliary_loss": False,  # with it, transformers passes the normalized output to the next layer
    "position_embedding_type": "sine",
    "scale_embedding": False,
}
"""Options without a counterpart, since all published models agree on them; also the defaults of transformers."""

DECODER = "branches.detect.decoder"
BACKBONE = r"model\.backbone\.(?:conv_encoder\.)?model\."


def detr(config: Mapping[str, Any], state: State) -> PeerModel:
    """``DetrForObjectDetection``.

    Args:
        config: the model's ``config.json``, as version 4 or 5 of transformers wrote it.
        state: its tensors, with the names of published files or those of transformers 5.

    Raises:
        ConfigError: a variant that was never published, such as another activation.
    """
    _check(config, state)
    classes = state["class_labels_classifier.bias"].shape[0] - 1
    model = {
        "backbone": _backbone(config),
        "branches": {
            "detect": {
                "task": "detect",
                "classes": class_names(config, classes),
                "decoder": _decoder(config, state),
            }
        },
    }
    return PeerModel(
        model=model,
        resize_spec=ResizeSpec((800, 1333), "shortest_edge"),
        tensors=renamed(
            joined_queries_and_keys(state),
            [*resnet_rules(BACKBONE, "backbone.body."), (BACKBONE, "backbone.body."), *_RULES],
        ),
        dropped=(r".*num_batches_tracked",),
        license="Apache-2.0",
    )


def _check(config: Mapping[str, Any], state: State) -> None:
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise ConfigError(f"transformers' DETR with {name}={config[name]} is not supported, only {value}")
    for name in ("attention_heads", "ffn_dim"):
        first, second = (config.get(f"{side}_{name}") for side in ("encoder", "decoder"))
        if first != second:
            raise ConfigError(f"transformers' DETR with encoder_{name}={first} and decoder_{name}={second}: give one")
    if "class_labels_classifier.bias" not in state:
        raise ConfigError("transformers' DETR is supported for object detection only (DetrForObjectDetection)")


def _backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of timm's ResNet; as in the peer, stem, first stage and all norms are frozen."""
    backbone_config = config.get("backbone_config") or {}
    by_timm = (
        backbone_config.get("model_type") == "timm_backbone"
        if backbone_config
        else config.get("use_timm_backbone", True)
    )
    arguments: dict[str, Any] = {}
    stride = None
    if by_timm:
        options = {**backbone_config, **(config.get("backbone_kwargs") or {})}
        name = str(backbone_config.get("backbone") or config.get("backbone") or "resnet50")
        stride = options.get("output_stride") or (16 if config.get("dilation") else None)
        if max(options.get("out_indices") or [4]) not in (4, -1):
            raise ConfigError("transformers' DETR is supported on its backbone's last map only")
    else:
        name, arguments = resnet_of(backbone_config, "DETR")
    backbone: dict[str, Any] = {
        "name": name,
        "in_channels": int(config.get("num_channels", 3)),
        "out_indices": [4],
        "freeze": 2,
        "frozen_norm": True,
        "norm_eps": 1e-5,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "args": arguments,
    }
    return backbone if stride in (None, 32) else {**backbone, "output_stride": int(stride)}


def _decoder(config: Mapping[str, Any], state: State) -> dict[str, Any]:
    queries, embed_dim = state["model.query_position_embeddings.weight"].shape
    return {
        "name": "detr",
        "embed_dim": embed_dim,
        "heads": int(config.get("decoder_attention_heads", 8)),
        "encoder_layers": _count(state, "encoder"),
        "layers": _count(state, "decoder"),
        "queries": queries,
        "hidden": next(value.shape[0] for name, value in state.items() if name.endswith("fc1.weight")),
        "dropout": float(config.get("dropout", 0.1)),
        "none_weight": float(config.get("eos_coefficient", 0.1)),
        "postprocess": {"score_threshold": 0.0, "max_detections": queries},
    }


def _count(state: State, side: str) -> int:
    """Number of layers."""
    return len({match[1] for name in state if (match := re.match(rf"model\.{side}\.layers\.(\d+)\.", name))})


_CELL_NORMS = {"self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}
_RULES = [
    (r"model\.input_projection\.", f"{DECODER}.project."),
    (r"model\.query_position_embeddings\.", f"{DECODER}.query_position."),
    *detr_layer_rules(r"model\.encoder\.layers\.(\d+)", rf"{DECODER}.cell_layers.\1", _CELL_NORMS),
    *detr_layer_rules(r"model\.decoder\.layers\.(\d+)", rf"{DECODER}.query_layers.\1", QUERY_NORMS),
    (r"model\.decoder\.layernorm\.", f"{DECODER}.norm."),
    (r"class_labels_classifier\.", f"{DECODER}.classify."),
    *((rf"bbox_predictor\.layers\.{number}\.", f"{DECODER}.box.{2 * number}.") for number in range(3)),
]
