"""Shared by segmentation-models-pytorch's architectures: the encoder, the classes, and parsing of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.errors import ConfigError, WeightsError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, renamed
from vertebra.weights.peers.smp_encoder import SmpEncoder, read_encoder

LICENSE = "as its author states it (the library is MIT)"
DECODER = "branches.segment.decoder"
HEAD = (r"segmentation_head\.0\.", f"{DECODER}.classifier.1.")
COMMON = {
    "encoder_name",
    "encoder_depth",
    "encoder_weights",
    "encoder_output_stride",
    "in_channels",
    "classes",
    "class_names",
    "activation",
    "aux_params",
    "upsampling",
}


def encoder_of(config: Mapping[str, Any], state: State, options: set[str]) -> SmpEncoder:
    """The encoder; it gets the arguments that are neither common nor among the architecture's ``options``."""
    if config.get("aux_params"):
        raise ConfigError(
            "smp: a model with aux_params has a second head, for classification, which is not supported; give the model "
            "without it (aux_params: null)"
        )
    known = COMMON | options
    extra = {key: value for key, value in config.items() if key not in known and not key.startswith("_")}
    return read_encoder(config, state, extra)


def peer_of(
    config: Mapping[str, Any],
    backbone: dict[str, Any],
    parts: dict[str, Any],
    tensors: State,
    dropped: tuple[str, ...] = (),
) -> PeerModel:
    """The whole model, with its classes.

    One class is smp's binary mode, with one logit and a sigmoid. Several are exclusive, unless ``activation`` is "sigmoid".
    """
    tensors = renamed(tensors, [HEAD])
    count = len(tensors[f"{DECODER}.classifier.1.weight"])
    activation = config.get("activation")
    if activation not in (None, "identity", "sigmoid", "softmax", "softmax2d"):
        raise ConfigError(f"smp: activation '{activation}' is not supported; supported are sigmoid and softmax2d")
    names = list(config.get("class_names") or [f"class_{number}" for number in range(count)])
    if len(names) != count:
        raise ConfigError(f"smp: the model has {count} classes, but 'class_names' has {len(names)} names")
    multilabel = count == 1 or activation == "sigmoid"
    branch = {**parts, "classes": names, "multilabel": multilabel}
    model = {"backbone": backbone, "branches": {"segment": branch}}
    return PeerModel(model, ResizeSpec((512, 512)), tensors, dropped, LICENSE)


def norm_of(config: Mapping[str, Any], older: str) -> str:
    """The normalization of a decoder's convolutions.

    Args:
        older: the argument's name in earlier versions of smp.
    """
    norm = config.get(older)
    norm = config.get("decoder_use_norm", True) if norm is None else norm
    kinds = {True: "batch", "batchnorm": "batch", False: "none", "identity": "none"}
    if isinstance(norm, Mapping) and set(norm) == {"type"}:
        norm = norm["type"]
    if not isinstance(norm, (bool, str)) or norm not in kinds:
        raise ConfigError(f"smp: decoder_use_norm '{norm}' is not supported; supported are batchnorm and identity")
    return kinds[norm]


def channels_of(state: State, name: str) -> int:
    """Output channels of a convolution.

    Raises:
        WeightsError: there is no such tensor.
    """
    if name not in state:
        raise WeightsError(f"smp: the weights are not those of this architecture; there is no '{name}'")
    return len(state[name])


def check_upsampling(config: Mapping[str, Any], default: int, stride: int) -> None:
    """Raises a `ConfigError` if smp's masks do not have the size of the image."""
    upsampling = int(config.get("upsampling", default))
    if upsampling != stride:
        raise ConfigError(
            f"smp: with upsampling {upsampling} the masks are not of the image's size; the logits are at stride {stride}"
        )
