"""transformers' MaskFormer as a Vertebra model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.transformers_labels import class_names
from vertebra.weights.peers.transformers_layers import QUERY_NORMS, detr_layer_rules, joined_queries_and_keys
from vertebra.weights.peers.transformers_mask_backbones import joined_projections, mask_backbone, mask_backbone_rules

WIDTH, LEVELS = 256, 4
FIXED: dict[str, Any] = {"fpn_feature_size": WIDTH, "mask_feature_size": WIDTH}
FIXED_DECODER: dict[str, Any] = {
    "activation_function": "relu",
    "auxiliary_loss": False,  # with it, transformers passes the normalized output to the next layer
    "d_model": WIDTH,
}
"""Options without a counterpart, since all published models agree on them; also the defaults of transformers."""

BRANCH = "branches.segment"
PIXELS, QUERIES = r"model\.pixel_level_module\.", r"model\.transformer_module\."


def maskformer(config: Mapping[str, Any], state: State) -> PeerModel:
    """``MaskFormerForInstanceSegmentation``, as a branch of the task segment.

    Args:
        config: the model's ``config.json``.
        state: its tensors, with the names of published files or those of transformers 5.

    Raises:
        ConfigError: a variant that was never published, such as another activation.
    """
    decoder = config.get("decoder_config") or {}
    for options, fixed in ((config, FIXED), (decoder, FIXED_DECODER)):
        for name, value in fixed.items():
            if options.get(name, value) != value:
                raise ConfigError(
                    f"transformers' MaskFormer with {name}={options[name]} is not supported, only {value}"
                )
    normed = any(".hidden_states_norms." in name for name in state)
    model = {
        "backbone": mask_backbone(config, "MaskFormer"),
        "branches": {
            "segment": {
                "task": "segment",
                "classes": class_names(config, state["class_predictor.bias"].shape[0] - 1),
                **({"neck": {"name": "layer_norm"}} if normed else {}),
                "decoder": _decoder(config, decoder, state),
            }
        },
    }
    rules = [*mask_backbone_rules(config, rf"{PIXELS}encoder\.", BRANCH), *_RULES]
    return PeerModel(
        model=model,
        resize_spec=ResizeSpec((800, 1333), "shortest_edge"),
        tensors=renamed(joined_queries_and_keys(joined_projections(state)), rules),
        dropped=(r".*num_batches_tracked", r".*relative_position_index", r"criterion\..*"),
        license="of the published model; Meta's MaskFormer weights have the licenses of their data sets",
    )


def _decoder(config: Mapping[str, Any], decoder: Mapping[str, Any], state: State) -> dict[str, Any]:
    layers = {match[1] for name in state if (match := re.match(rf"{QUERIES}decoder\.layers\.(\d+)\.", name))}
    return {
        "name": "maskformer",
        "channels": WIDTH,
        "heads": int(decoder.get("decoder_attention_heads", 8)),
        "layers": len(layers),
        "queries": state["model.transformer_module.queries_embedder.weight"].shape[0],
        "hidden": next(value.shape[0] for name, value in state.items() if re.match(rf"{QUERIES}.*fc1\.", name)),
        "dropout": float(decoder.get("dropout", 0.1)),
        "none_weight": float(config.get("no_object_weight", 0.1)),
    }


_OURS = f"{BRANCH}.decoder.network."
_RULES = [
    (rf"{PIXELS}decoder\.fpn\.stem\.", f"{_OURS}stem."),
    *(
        (rf"{PIXELS}decoder\.fpn\.layers\.{number}\.{theirs}\.", f"{_OURS}{ours}.{LEVELS - 2 - number}.")
        for number in range(LEVELS - 1)
        for theirs, ours in (("proj", "lateral"), ("block", "smooth"))
    ),
    (rf"{PIXELS}decoder\.mask_projection\.", f"{_OURS}pixel_projection."),
    (rf"{QUERIES}queries_embedder\.", f"{_OURS}query_position."),
    (rf"{QUERIES}input_projection\.", f"{_OURS}project."),
    *detr_layer_rules(rf"{QUERIES}decoder\.layers\.(\d+)", rf"{_OURS}layers.\1", QUERY_NORMS),
    (rf"{QUERIES}decoder\.layernorm\.", f"{_OURS}norm."),
    *((rf"mask_embedder\.{number}\.0\.", f"{_OURS}embed.{2 * number}.") for number in range(3)),
    (r"class_predictor\.", f"{_OURS}classify."),
]
