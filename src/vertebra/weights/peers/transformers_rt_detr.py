"""transformers' RT-DETR and RT-DETRv2 as Vertebra models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.transformers_labels import class_names
from vertebra.weights.peers.transformers_layers import joined_queries_and_keys, resnet_stage_rules

DEFAULTS: dict[str, Any] = {
    "activation_function": "silu",
    "anchor_image_size": None,
    "batch_norm_eps": 1e-5,
    "decoder_activation_function": "relu",
    "decoder_attention_heads": 8,
    "decoder_method": "default",
    "decoder_offset_scale": 0.5,
    "encode_proj_layers": [2],
    "encoder_activation_function": "gelu",
    "encoder_attention_heads": 8,
    "encoder_layers": 1,
    "eval_size": None,
    "feat_strides": [8, 16, 32],
    "freeze_backbone_batch_norms": True,
    "layer_norm_eps": 1e-5,
    "learn_initial_query": False,
    "normalize_before": False,
    "num_queries": 300,
    "positional_encoding_temperature": 10000,
}
"""Defaults of transformers for options that ``config.json`` lacks."""

FIXED = {
    "activation_function": "silu",
    "anchor_image_size": None,
    "batch_norm_eps": 1e-5,
    "decoder_activation_function": "relu",
    "encoder_activation_function": "gelu",
    "eval_size": None,
    "layer_norm_eps": 1e-5,
    "learn_initial_query": False,  # transformers itself cannot run it
    "normalize_before": False,
    "positional_encoding_temperature": 10000,
}
"""Options without a counterpart, since all published models agree on them."""

BACKBONES = {
    ("basic", (2, 2, 2, 2)): "resnet18d",
    ("basic", (3, 4, 6, 3)): "resnet34d",
    ("bottleneck", (2, 2, 2, 2)): "resnet26d",
    ("bottleneck", (3, 4, 6, 3)): "resnet50d",
    ("bottleneck", (3, 4, 23, 3)): "resnet101d",
    ("bottleneck", (3, 8, 36, 3)): "resnet152d",
}
ENCODER, DECODER = "branches.detect.encoder", "branches.detect.decoder"


def rt_detr(config: Mapping[str, Any], state: State) -> PeerModel:
    """``RTDetrForObjectDetection`` or ``RTDetrV2ForObjectDetection``.

    Args:
        config: the model's ``config.json``.
        state: its tensors, with the names of published files or those of transformers 5.

    Raises:
        ConfigError: a variant that was never published, such as another activation.
    """
    options = {**DEFAULTS, **config}
    _check(options)
    levels = sum(bool(re.fullmatch(r"model\.encoder_input_proj\.\d+\.0\.weight", name)) for name in state)
    backbone, widened = _backbone(options)
    classes = state["model.enc_score_head.bias"].shape[0]
    model = {
        "backbone": backbone,
        "branches": {
            "detect": {
                "task": "detect",
                "classes": class_names(options, classes),
                "encoder": _encoder(options, state, levels),
                "decoder": _decoder(options, state, levels),
            }
        },
    }
    tensors = renamed(
        joined_queries_and_keys(_one_set_of_heads(state)), [*_backbone_rules(), *_encoder_rules(levels), *_RULES]
    )
    table = f"{DECODER}.label_content.weight"
    if table in tensors:
        tensors[table] = tensors[table][:classes]  # the last row is the padding entry, all zeros
    if widened:
        tensors = _widen_stem(tensors)
    return PeerModel(
        model=model,
        resize_spec=ResizeSpec((640, 640), "resize"),
        tensors=tensors,
        dropped=(r".*\.n_points_scale", r"(class|bbox)_embed\..*", r".*num_batches_tracked"),
        license="Apache-2.0",
    )


def _check(options: Mapping[str, Any]) -> None:
    for name, value in FIXED.items():
        if options[name] != value:
            raise ConfigError(f"transformers' RT-DETR with {name}={options[name]} is not supported, only {value}")
    strides, attended = list(options["feat_strides"]), list(options["encode_proj_layers"])
    if options["encoder_layers"] > 0 and attended != [len(strides) - 1]:
        raise ConfigError(f"transformers' RT-DETR with encode_proj_layers={attended} is not supported, only the last")
    if options.get("num_feature_levels", len(strides)) != len(strides):
        raise ConfigError("transformers' RT-DETR with more levels in the decoder than in the encoder is not supported")


def _backbone(options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Options of timm's ResNet-D, and whether its stem gets two extra channels.

    The peer has a convolution on the first block's shortcut, even with basic blocks; timm has one only if channels differ.
    Two extra channels of zeros make them differ without any effect: they get no gradient.
    """
    backbone_config = options.get("backbone_config") or {}
    if options.get("use_timm_backbone") or backbone_config.get("model_type", "rt_detr_resnet") != "rt_detr_resnet":
        raise ConfigError("transformers' RT-DETR is supported on its own ResNet only (backbone_config rt_detr_resnet)")
    kind, depths = backbone_config.get("layer_type", "bottleneck"), tuple(backbone_config.get("depths", (3, 4, 6, 3)))
    expansion = 4 if kind == "bottleneck" else 1
    hidden_sizes = [channels * expansion for channels in (64, 128, 256, 512)]
    unsupported = {
        "embedding_size": backbone_config.get("embedding_size", 64) != 64,
        "hidden_sizes": list(backbone_config.get("hidden_sizes", [256, 512, 1024, 2048])) != hidden_sizes,
        "hidden_act": backbone_config.get("hidden_act", "relu") != "relu",
        "downsample_in_first_stage": bool(backbone_config.get("downsample_in_first_stage", False)),
        "downsample_in_bottleneck": bool(backbone_config.get("downsample_in_bottleneck", False)),
        "num_channels": backbone_config.get("num_channels", 3) != 3,
        "depths": len(depths) != 4,
    }
    names = [name for name, differs in unsupported.items() if differs]
    if names:
        raise ConfigError(f"transformers' RT-DETR: the backbone's {', '.join(names)} are not those of a ResNet-D")
    arguments: dict[str, Any] = {}
    name = BACKBONES.get((kind, depths))
    if name is None:
        name, arguments["layers"] = ("resnet50d" if kind == "bottleneck" else "resnet18d"), list(depths)
    if kind == "basic":
        arguments["stem_width"] = 33
    out_indices = [2, 3, 4][-len(options["feat_strides"]) :]
    backbone = {
        "name": name,
        "out_indices": out_indices,
        "frozen_norm": bool(options["freeze_backbone_batch_norms"]),
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "args": arguments,
    }
    return backbone, kind == "basic"


def _encoder(options: Mapping[str, Any], state: State, levels: int) -> dict[str, Any]:
    channels, inner = (
        state["model.encoder.fpn_blocks.0.conv1.conv.weight"].shape[1] // 2,
        _fusion_channels(state, "fpn_blocks.0"),
    )
    hidden = [value.shape[0] for name, value in state.items() if re.match(r"model\.encoder\..*fc1\.weight", name)]
    return {
        "name": "hybrid",
        "levels": levels,
        "channels": channels,
        "depth": options["encoder_layers"] if hidden else 0,
        "heads": options["encoder_attention_heads"],
        "hidden": hidden[0] if hidden else None,
        "blocks": sum(bool(re.fullmatch(rf".*{_PAN}0{_BLOCK}\d+\.conv1\.conv\.weight", name)) for name in state),
        "expansion": inner / channels,
    }


_PAN, _BLOCK = r"encoder\.pan_blocks\.", r"\.bottlenecks\."


def _fusion_channels(state: State, block: str) -> int:
    """Hidden channels of a fusion block."""
    return int(state[f"model.encoder.{block}.conv1.conv.weight"].shape[0])


def _decoder(options: Mapping[str, Any], state: State, levels: int) -> dict[str, Any]:
    heads = int(options["decoder_attention_heads"])
    layers = 1 + max(int(match[1]) for name in state if (match := re.match(r"model\.decoder\.layers\.(\d+)\.", name)))
    samples = state["model.decoder.layers.0.encoder_attn.attention_weights.bias"].shape[0]
    hidden = next(value.shape[0] for name, value in state.items() if re.match(r"model\.decoder\..*fc1\.weight", name))
    queries = int(options["num_queries"])
    return {
        "name": "rt_detr",
        "embed_dim": state["model.enc_output.0.bias"].shape[0],
        "heads": heads,
        "layers": layers,
        "queries": queries,
        "hidden": hidden,
        "points": samples // (heads * levels),
        "sampling": "discrete" if options["decoder_method"] == "discrete" else "bilinear",
        "offset_scale": float(options["decoder_offset_scale"]),
        "denoising": int(options.get("num_denoising", 100)) if "model.denoising_class_embed.weight" in state else 0,
        "postprocess": {"score_threshold": 0.0, "max_detections": queries},
    }


def _one_set_of_heads(state: State) -> State:
    """Keeps one copy of the decoder's heads: files have them under ``model.decoder``, at the top level, or both, tied."""
    result = dict(state)
    for name in state:
        if re.match(r"(class|bbox)_embed\.", name) and f"model.decoder.{name}" not in state:
            result[f"model.decoder.{name}"] = result.pop(name)
    return result


def _backbone_rules() -> list[tuple[str, str]]:
    peer, ours = r"model\.backbone\.model\.", "backbone.body."
    rules = [
        (rf"{peer}embedder\.embedder\.2\.normalization\.", f"{ours}bn1."),
        *(
            (rf"{peer}embedder\.embedder\.{number}\.{kind}\.", f"{ours}conv1.{3 * number + index}.")
            for number in range(3)
            for index, kind in enumerate(("convolution", "normalization"))
        ),
    ]
    return [*rules, *resnet_stage_rules(peer, ours, shortcut=1)]


def _encoder_rules(levels: int) -> list[tuple[str, str]]:
    """The peer numbers top-down fusions from the deepest pair of levels, Vertebra from the finest."""
    rules: list[tuple[str, str]] = []
    peer = r"model\.encoder\."
    for number in range(levels - 1):
        pair = levels - 2 - number
        rules += _conv_norm(rf"{peer}lateral_convs\.{number}", f"{ENCODER}.lateral.{pair}")
        rules += _conv_norm(rf"{peer}downsample_convs\.{number}", f"{ENCODER}.shrink.{number}")
        for theirs, ours in (
            (f"fpn_blocks.{number}", f"top_down.{pair}"),
            (f"pan_blocks.{number}", f"bottom_up.{number}"),
        ):
            block, target = peer + re.escape(theirs), f"{ENCODER}.{ours}"
            for kind, name in (("wide", "conv1"), ("narrow", "conv2")):
                rules += _conv_norm(rf"{block}\.bottlenecks\.(\d+)\.{name}", rf"{target}.blocks.\1.{kind}")
            for kind, name in (("path", "conv1"), ("bypass", "conv2"), ("join", "conv3")):
                rules += _conv_norm(rf"{block}\.{name}", f"{target}.{kind}")
    return rules


def _conv_norm(theirs: str, ours: str) -> list[tuple[str, str]]:
    return [(rf"{theirs}\.conv\.", f"{ours}.0."), (rf"{theirs}\.norm\.", f"{ours}.1.")]


def _layer_rules(theirs: str, ours: str, last_norm: str) -> list[tuple[str, str]]:
    """Rules for a transformer layer; names differ between published files and transformers 5."""
    return [
        (rf"{theirs}\.self_attn\.qk_proj\.", f"{ours}.attention.queries_keys."),
        (rf"{theirs}\.self_attn\.v_proj\.", f"{ours}.attention.values."),
        (rf"{theirs}\.self_attn\.(?:o|out)_proj\.", f"{ours}.attention.out."),
        (rf"{theirs}\.self_attn_layer_norm\.", f"{ours}.norm1."),
        (rf"{theirs}\.(?:mlp\.)?fc1\.", f"{ours}.mlp.0."),
        (rf"{theirs}\.(?:mlp\.)?fc2\.", f"{ours}.mlp.3."),
        (rf"{theirs}\.final_layer_norm\.", f"{ours}.{last_norm}."),
    ]


def _perceptron(theirs: str, ours: str) -> list[tuple[str, str]]:
    return [(rf"{theirs}\.layers\.{number}\.", f"{ours}.{2 * number}.") for number in range(3)]


_READING = {
    "sampling_offsets": "offsets",
    "attention_weights": "weights",
    "value_proj": "values",
    "output_proj": "out",
}
_RULES = [
    (r"model\.encoder_input_proj\.", f"{ENCODER}.project."),
    *_layer_rules(r"model\.encoder\.(?:encoder|aifi)\.0\.layers\.(\d+)", rf"{ENCODER}.layers.\1", "norm2"),
    (r"model\.decoder_input_proj\.", f"{DECODER}.project."),
    (r"model\.enc_output\.", f"{DECODER}.selection.read."),
    (r"model\.enc_score_head\.", f"{DECODER}.selection.score."),
    *_perceptron(r"model\.enc_bbox_head", f"{DECODER}.selection.box"),
    (r"model\.denoising_class_embed\.", f"{DECODER}.label_content."),
    *_layer_rules(r"model\.decoder\.layers\.(\d+)", rf"{DECODER}.refinement.layers.\1", "norm3"),
    (r"model\.decoder\.layers\.(\d+)\.encoder_attn_layer_norm\.", rf"{DECODER}.refinement.layers.\1.norm2."),
    *(
        (
            rf"model\.decoder\.layers\.(\d+)\.encoder_attn\.{theirs}\.",
            rf"{DECODER}.refinement.layers.\1.reading.{ours}.",
        )
        for theirs, ours in _READING.items()
    ),
    *_perceptron(r"model\.decoder\.query_pos_head", f"{DECODER}.refinement.position"),
    (r"model\.decoder\.class_embed\.", f"{DECODER}.refinement.classify."),
    *_perceptron(r"model\.decoder\.bbox_embed\.(\d+)", rf"{DECODER}.refinement.move.\1"),
]


def _widen_stem(tensors: State) -> State:
    """Adds one zero channel after each of the stem's first two convolutions and two after its third."""
    stem = "backbone.body."
    convs = {f"{stem}conv1.0.weight": (1, 0), f"{stem}conv1.3.weight": (1, 1), f"{stem}conv1.6.weight": (2, 1)}
    convs |= {f"{stem}layer1.0.conv1.weight": (0, 2), f"{stem}layer1.0.downsample.1.weight": (0, 2)}
    norms = {f"{stem}conv1.1.": 1, f"{stem}conv1.4.": 1, f"{stem}bn1.": 2}
    result = dict(tensors)
    for name, (rows, columns) in convs.items():
        result[name] = _padded(result[name], rows, columns)
    for prefix, count in norms.items():
        for name, fill in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            value = result[prefix + name]
            result[prefix + name] = torch.cat([value, value.new_full((count,), fill)])
    return result


def _padded(weight: Tensor, rows: int, columns: int) -> Tensor:
    return torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, columns, 0, rows))
