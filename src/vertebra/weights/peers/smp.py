"""segmentation-models-pytorch's models as Vertebra models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from vertebra.errors import ConfigError
from vertebra.weights.peers.base import FolderBuilder, PeerModel, State, renamed
from vertebra.weights.peers.smp_encoder import SmpEncoder
from vertebra.weights.peers.smp_parts import DECODER, channels_of, check_upsampling, encoder_of, norm_of, peer_of
from vertebra.weights.peers.smp_transformer_heads import dpt, segformer, upernet

STEP_OPTIONS = {
    "decoder_channels",
    "decoder_use_norm",
    "decoder_use_batchnorm",
    "decoder_attention_type",
    "decoder_interpolation",
}
ASPP_OPTIONS = {"decoder_channels", "decoder_atrous_rates", "decoder_aspp_separable", "decoder_aspp_dropout"}
STEP = (
    (r"conv1\.", "0."),
    (r"conv2\.", "1."),
    (r"attention1\.attention\.cSE\.1\.", "weigh_joined.channels.0."),
    (r"attention1\.attention\.cSE\.3\.", "weigh_joined.channels.2."),
    (r"attention1\.attention\.sSE\.0\.", "weigh_joined.cells.0."),
    (r"attention2\.attention\.cSE\.1\.", "weigh.channels.0."),
    (r"attention2\.attention\.cSE\.3\.", "weigh.channels.2."),
    (r"attention2\.attention\.sSE\.0\.", "weigh.cells.0."),
)


def unet(config: Mapping[str, Any], state: State) -> PeerModel:
    """Unet: its last block, to stride 1, has no skip connection."""
    encoder = encoder_of(config, state, STEP_OPTIONS)
    depth = len(encoder.out_indices)
    widths = [channels_of(state, f"decoder.blocks.{number}.conv1.0.weight") for number in range(depth)]
    decoder = {"name": "unet", "channels": widths, **_steps(config, encoder)}
    rules = [(rf"decoder\.blocks\.(\d)\.{old}", rf"{DECODER}.blocks.\1.{new}") for old, new in STEP]
    tensors = renamed(encoder.tensors, rules)
    unused = rf"{re.escape(DECODER)}\.blocks\.{depth - 1}\.weigh_joined\..*"  # the last block has no skip connection
    return peer_of(config, encoder.with_out_indices(range(depth)), {"decoder": decoder}, tensors, (unused,))


def unetplusplus(config: Mapping[str, Any], state: State) -> PeerModel:
    """UnetPlusPlus: smp's node ``x_d_l`` is node ``l - d`` of row l."""
    encoder = encoder_of(config, state, STEP_OPTIONS)
    depth = len(encoder.out_indices)
    steps = depth - 1 - encoder.out_indices.count(None)
    widths = [channels_of(state, f"decoder.blocks.x_0_{number}.conv1.0.weight") for number in range(depth)]
    decoder = {"name": "unetplusplus", "channels": widths, **_steps(config, encoder)}
    nodes = {
        f"x_{offset}_{step}": f"rows.{step}.{step - offset}" for step in range(steps) for offset in range(step + 1)
    }
    nodes.update({f"x_0_{step}": f"blocks.{step - steps}" for step in range(steps, depth)})
    rules = [
        (rf"decoder\.blocks\.{node}\.{old}", f"{DECODER}.{target}.{new}")
        for node, target in nodes.items()
        for old, new in STEP
    ]
    tensors = renamed(encoder.tensors, rules)
    unused = rf"{re.escape(DECODER)}\.blocks\.0\.weigh_joined\..*"
    return peer_of(config, encoder.with_out_indices(range(depth)), {"decoder": decoder}, tensors, (unused,))


def fpn(config: Mapping[str, Any], state: State) -> PeerModel:
    """FPN: with a built-in pyramid on the four deepest features."""
    known = {"decoder_pyramid_channels", "decoder_segmentation_channels", "decoder_merge_policy", "decoder_dropout"}
    encoder = encoder_of(config, state, {*known, "decoder_interpolation"})
    if len(encoder.out_indices) < 4 or encoder.out_indices[-4] is None:
        raise ConfigError("smp: an FPN needs four features of its encoder here; encoder_depth must be larger")
    if config.get("decoder_interpolation", "nearest") not in ("nearest", "nearest-exact"):
        raise ConfigError(
            f"smp: an FPN with decoder_interpolation '{config['decoder_interpolation']}' is not supported"
        )
    stride = encoder.strides[-4]
    check_upsampling(config, 4, stride)
    decoder = {
        "name": "fpn",
        "channels": channels_of(state, "decoder.seg_blocks.0.block.0.block.0.weight"),
        "finest_stride": stride,
        "pyramid_channels": channels_of(state, "decoder.p5.weight"),
        "merge": "add" if config.get("decoder_merge_policy", "add") == "add" else "concatenate",
        "groups": 32,
        "dropout": float(config.get("decoder_dropout", 0.2)),
        "fit": "corners",
    }
    rules = [
        (r"decoder\.p5\.", f"{DECODER}.pyramid.3.0."),
        *((rf"decoder\.p{n + 2}\.skip_conv\.", f"{DECODER}.pyramid.{n}.0.") for n in range(3)),
        *(
            (rf"decoder\.seg_blocks\.{n}\.block\.(\d)\.block\.", rf"{DECODER}.paths.{3 - n}.convs.\1.")
            for n in range(4)
        ),
    ]
    return peer_of(
        config, encoder.with_out_indices([-4, -3, -2, -1]), {"decoder": decoder}, renamed(encoder.tensors, rules)
    )


def pspnet(config: Mapping[str, Any], state: State) -> PeerModel:
    """PSPNet."""
    config = {"encoder_depth": 3, **config}
    known = {"psp_out_channels", "psp_dropout", "psp_use_batchnorm", "decoder_use_norm"}
    encoder = encoder_of(config, state, known)
    check_upsampling(config, 8, encoder.strides[-1])
    decoder = {
        "name": "pspnet",
        "channels": channels_of(state, "decoder.conv.0.weight"),
        "join_kernel_size": 1,
        "norm": norm_of(config, "psp_use_batchnorm"),
        "normalize_whole": False,
        "kernel_size": 3,
        "dropout": float(config.get("psp_dropout", 0.2)),
        "fit": "corners",
    }
    rules = [
        (r"decoder\.psp\.blocks\.(\d)\.pool\.1\.", rf"{DECODER}.pooling.convs.\1."),
        (r"decoder\.conv\.", f"{DECODER}.join."),
    ]
    tensors = renamed(encoder.tensors, rules)
    weight = tensors[f"{DECODER}.join.0.weight"]
    # smp concatenates the averages first, then the level
    tensors[f"{DECODER}.join.0.weight"] = torch.roll(weight, weight.shape[1] // 2, dims=1)
    return peer_of(config, encoder.with_out_indices([-1]), {"decoder": decoder}, tensors)


def deeplabv3(config: Mapping[str, Any], state: State) -> PeerModel:
    """DeepLabV3: encoder 'aspp' and a 3x3 convolution."""
    config = {"encoder_output_stride": 8, **config}
    encoder = encoder_of(config, state, ASPP_OPTIONS)
    if config.get("upsampling") is not None:
        check_upsampling(config, 8, encoder.strides[-1])
    decoder = {"name": "deeplabv3", "depth": 1, "fit": "corners"}
    rules = [
        # the older names had numbers
        *(
            (rf"decoder\.(?:aspp|0)\.{old}", f"branches.segment.encoder.{new}")
            for old, new in _aspp_rules(config, False)
        ),
        (r"decoder\.(?:conv|1)\.", f"{DECODER}.body.0.0."),
        (r"decoder\.(?:bn|2)\.", f"{DECODER}.body.0.1."),
    ]
    parts = {"encoder": _aspp(config, False), "decoder": decoder}
    return peer_of(config, encoder.with_out_indices([-1]), parts, renamed(encoder.tensors, rules))


def deeplabv3plus(config: Mapping[str, Any], state: State) -> PeerModel:
    """DeepLabV3Plus: encoder 'aspp', and separable convolutions without a normalization inside."""
    config = {"encoder_output_stride": 16, **config}
    encoder = encoder_of(config, state, ASPP_OPTIONS)
    check_upsampling(config, 4, 4)
    decoder = {
        "name": "deeplabv3plus",
        "channels": channels_of(state, "decoder.block2.1.weight"),
        "low_level_channels": channels_of(state, "decoder.block1.1.weight"),
        "depth": 1,
        "deep_depth": 1,
        "separable": True,
        "inner_norm": False,
        "dropout": 0.0,
        "fit": "corners",
    }
    rules = [
        *((rf"decoder\.aspp\.0\.{old}", f"branches.segment.encoder.{new}") for old, new in _aspp_rules(config, True)),
        (r"decoder\.aspp\.1\.([01])\.", rf"{DECODER}.deep.0.\1.0."),
        (r"decoder\.aspp\.2\.", f"{DECODER}.deep.0.1.1."),
        (r"decoder\.block1\.([01])\.", rf"{DECODER}.reduce.\1."),
        (r"decoder\.block2\.0\.([01])\.", rf"{DECODER}.join.0.\1.0."),
        (r"decoder\.block2\.1\.", f"{DECODER}.join.0.1.1."),
    ]
    parts = {"encoder": _aspp(config, True), "decoder": decoder}
    return peer_of(
        config, encoder.with_out_indices([1, len(encoder.out_indices) - 1]), parts, renamed(encoder.tensors, rules)
    )


BUILDERS: dict[str, FolderBuilder] = {
    "unet": unet,
    "unetplusplus": unetplusplus,
    "fpn": fpn,
    "pspnet": pspnet,
    "deeplabv3": deeplabv3,
    "deeplabv3plus": deeplabv3plus,
    "upernet": upernet,
    "segformer": segformer,
    "dpt": dpt,
}
"""From smp's constructor arguments (its ``config.json``) and a state dict to the model, by lower-case class name."""


def _steps(config: Mapping[str, Any], encoder: SmpEncoder) -> dict[str, Any]:
    """The block options that Unet and UnetPlusPlus share."""
    interpolation = config.get("decoder_interpolation", "nearest")
    if interpolation not in ("nearest", "nearest-exact", "bilinear"):
        raise ConfigError(
            f"smp: decoder_interpolation '{interpolation}' is not supported; supported are nearest and bilinear"
        )
    attention = config.get("decoder_attention_type")
    if attention not in (None, "scse") or (attention and None in encoder.out_indices):
        raise ConfigError(f"smp: decoder_attention_type '{attention}' is not supported on this encoder")
    return {
        "to_stride": 1,
        "interpolation": "bilinear" if interpolation == "bilinear" else "nearest",
        "norm": norm_of(config, "decoder_use_batchnorm"),
        "attention": attention,
        "kernel_size": 3,
    }


def _aspp_rules(config: Mapping[str, Any], separable: bool) -> list[tuple[str, str]]:
    """Rules from the names in smp's ASPP to those in encoder 'aspp'."""
    if config.get("decoder_aspp_separable", separable):
        inner = [(r"convs\.([123])\.0\.([01])\.", r"branches.\1.\2.0."), (r"convs\.([123])\.1\.", r"branches.\1.1.1.")]
    else:
        inner = [(r"convs\.([123])\.([01])\.", r"branches.\1.\2.")]
    return [
        (r"convs\.0\.([01])\.", r"branches.0.\1."),
        *inner,
        (r"convs\.4\.1\.", "pool."),
        (r"convs\.4\.2\.", "pool_norm."),
        (r"project\.([01])\.", r"join.0.\1."),
    ]


def _aspp(config: Mapping[str, Any], separable: bool) -> dict[str, Any]:
    """Encoder 'aspp' with smp's options."""
    return {
        "name": "aspp",
        "channels": int(config.get("decoder_channels", 256)),
        "rates": [int(rate) for rate in config.get("decoder_atrous_rates", (12, 24, 36))],
        "separable": bool(config.get("decoder_aspp_separable", separable)),
        "inner_norm": False,
        "dropout": float(config.get("decoder_aspp_dropout", 0.5)),
    }


BEGINNINGS: tuple[str, ...] = ("encoder.", "decoder.", "segmentation_head.", "classification_head.")
"""Beginnings of their tensor names; anything before them is a trainer's prefix."""
