"""segmentation-models-pytorch's UPerNet, Segformer and DPT as Vertebra models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch

from vertebra.errors import ConfigError, WeightsError
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.smp_parts import DECODER, channels_of, check_upsampling, encoder_of, norm_of, peer_of


def upernet(config: Mapping[str, Any], state: State) -> PeerModel:
    """UPerNet, with LayerNorm on each level."""
    encoder = encoder_of(config, state, {"decoder_channels", "decoder_use_norm"})
    check_upsampling(config, 4, 4)
    if norm_of(config, "decoder_use_norm") != "batch":
        raise ConfigError("smp: a UPerNet without BatchNorm (decoder_use_norm) is not supported")
    decoder = {
        "name": "upernet",
        "channels": channels_of(state, "decoder.fusion_block.0.weight"),
        "level_norm": True,
        "dropout": 0.0,
        "fit": "corners",
    }
    last = len(encoder.out_indices) - 3  # last lateral connection; smp numbers them from the coarsest on
    rules = [
        (r"decoder\.feature_norms\.", f"{DECODER}.norms."),
        (r"decoder\.psp\.blocks\.(\d)\.1\.", rf"{DECODER}.pooling.convs.\1."),
        (r"decoder\.psp\.out_conv\.", f"{DECODER}.join."),
        (r"decoder\.fusion_block\.", f"{DECODER}.fuse."),
    ]
    for number in range(last + 1):
        theirs, ours = number, last - number
        rules.append((rf"decoder\.fpn_lateral_blocks\.{theirs}\.conv_norm_relu\.", f"{DECODER}.lateral.{ours}."))
        rules.append((rf"decoder\.fpn_conv_blocks\.{theirs}\.", f"{DECODER}.smooth.{ours}."))
    levels = range(1, len(encoder.out_indices))
    return peer_of(config, encoder.with_out_indices(levels), {"decoder": decoder}, renamed(encoder.tensors, rules))


def segformer(config: Mapping[str, Any], state: State) -> PeerModel:
    """Segformer's head on smp's encoders; levels finer than the logits are downsampled to them."""
    encoder = encoder_of(config, state, {"decoder_segmentation_channels"})
    check_upsampling(config, 4, 4)
    decoder = {
        "name": "segformer",
        "channels": channels_of(state, "decoder.fuse_stage.0.weight"),
        "finest_stride": 1,
        "stride": 4,
        "dropout": 0.0,
        "fit": "corners",
    }
    used = [number for number, index in enumerate(encoder.out_indices) if index is not None]
    rules = [
        (rf"decoder\.mlp_stage\.{len(used) - 1 - number}\.linear\.", f"{DECODER}.project.{number}.")
        for number in range(len(used))
    ]
    tensors = renamed(encoder.tensors, [*rules, (r"decoder\.fuse_stage\.", f"{DECODER}.fuse.")])
    for name in [name for name in tensors if re.match(rf"{re.escape(DECODER)}\.project\.\d\.weight", name)]:
        tensors[name] = tensors[name][:, :, None, None]
    return peer_of(config, encoder.with_out_indices(used), {"decoder": decoder}, tensors)


DPT_OPTIONS = {"decoder_readout", "decoder_intermediate_channels", "decoder_fusion_channels", "encoder_output_indices"}
KNOWN = {
    "encoder_name",
    "encoder_depth",
    "encoder_weights",
    "in_channels",
    "classes",
    "class_names",
    "activation",
    "aux_params",
}


def dpt(config: Mapping[str, Any], state: State) -> PeerModel:
    """DPT on a plain vision transformer of timm."""
    if config.get("aux_params"):
        raise ConfigError("smp: a model with aux_params has a second head, which is not supported; give it without")
    name = str(config.get("encoder_name", "tu-vit_base_patch16_224.augreg_in21k")).removeprefix("tu-")
    ignored = {*KNOWN, *DPT_OPTIONS, "dynamic_img_size"}
    args = {key: value for key, value in config.items() if key not in ignored and not key.startswith("_")}
    with torch.device("meta"):
        body: Any = timm.create_model(name, pretrained=False, num_classes=0, **args)
    depth, blocks = int(config.get("encoder_depth", 4)), len(body.feature_info)
    out_indices = config.get("encoder_output_indices") or [
        int(blocks / depth * step) - 1 for step in range(1, depth + 1)
    ]
    readout = config.get("decoder_readout", "cat")
    if readout not in ("cat", "ignore"):
        raise WeightsError(f"smp: a DPT with decoder_readout '{readout}' is not supported; cat and ignore are")
    token = readout == "cat" and getattr(body, "num_prefix_tokens", 0) > 0
    levels = range(len(out_indices))
    decoder = {
        "name": "dpt",
        "channels": channels_of(state, "decoder.fusion_blocks.0.project.weight"),
        "level_channels": [
            channels_of(state, f"decoder.reassemble_blocks.{n}.project_to_out_channel.weight") for n in levels
        ],
        "readout": channels_of(state, "decoder.projection_blocks.0.project.0.weight") if readout == "cat" else None,
        "dropout": 0.1,
        "fit": "corners",
    }
    backbone: dict[str, Any] = {
        "name": name,
        "out_indices": [int(index) % blocks for index in out_indices],
        "final_norm": False,
    }
    backbone.update(
        class_token=token, in_channels=int(config.get("in_channels", 3)), **({"args": args} if args else {})
    )
    tensors = renamed(state, _dpt_rules())
    for key in [key for key in tensors if re.match(rf"{re.escape(DECODER)}\.readouts\.\d\.0\.weight", key)]:
        tensors[key] = tensors[key][:, :, None, None]
    return peer_of(config, backbone, {"decoder": decoder}, tensors, (r"backbone\.body\.head\..*",))


def _dpt_rules() -> list[tuple[str, str]]:
    fusion = r"decoder\.fusion_blocks\.(\d)"
    rules = [
        (r"encoder\.model\.", "backbone.body."),
        (r"decoder\.projection_blocks\.(\d)\.project\.0\.", rf"{DECODER}.readouts.\1.0."),
        (r"decoder\.reassemble_blocks\.(\d)\.project_to_out_channel\.", rf"{DECODER}.reassemble.\1.0."),
        (r"decoder\.reassemble_blocks\.(\d)\.upsample\.", rf"{DECODER}.reassemble.\1.1."),
        (r"decoder\.reassemble_blocks\.(\d)\.project_to_feature_dim\.", rf"{DECODER}.reassemble.\1.2."),
        (rf"{fusion}\.project\.", rf"{DECODER}.fusions.\1.project."),
        (r"segmentation_head\.head\.([01])\.", rf"{DECODER}.head.\1."),
        (r"segmentation_head\.head\.4\.", f"{DECODER}.classifier.1."),
    ]
    for number, position in ((1, "before"), (2, "after")):
        for step, layer in ((1, 1), (2, 3)):
            block = rf"{fusion}\.residual_conv_block{number}"
            rules.append((rf"{block}\.conv_{step}\.", rf"{DECODER}.fusions.\1.{position}.body.{layer}.0."))
            rules.append((rf"{block}\.batch_norm_{step}\.", rf"{DECODER}.fusions.\1.{position}.body.{layer}.1."))
    return rules
