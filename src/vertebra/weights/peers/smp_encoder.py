"""segmentation-models-pytorch's encoders as backbones: its own ResNets, and timm's models as ``tu-NAME``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch

from vertebra.backbones.catalog import alignment_of
from vertebra.errors import ConfigError, WeightsError
from vertebra.weights.peers.base import State

SMP_RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_32x16d",
    "resnext101_32x32d",
)
"""smp's own encoders that have the modules and names of timm's model of the same name."""
MOBILENETS = {"mobilenet_v2": "torchvision_mobilenet_v2"}
MOBILENET_BLOCKS = (1, 3, 6, 13, 18)
"""The blocks of MobileNetV2 whose maps smp reads."""
SAME_AS_TU = ("timm-regnet", "timm-res2", "timm-resnest", "timm-mobilenetv3", "timm-gernet")
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True, eq=False)
class SmpEncoder:
    """An encoder of smp as a backbone.

    Attributes:
        backbone: its config, without ``out_indices``.
        out_indices: index of the backbone's map for each of smp's features at strides 2, 4 …; None for an empty one.
        strides: strides of these features.
        tensors: all of the model's tensors, those of the encoder under Vertebra's names.
    """

    backbone: dict[str, Any]
    out_indices: list[int | None]
    strides: list[int]
    tensors: State

    def with_out_indices(self, features: Iterable[int]) -> dict[str, Any]:
        """The backbone's config, with the non-empty ones of these features as ``out_indices``."""
        return {
            **self.backbone,
            "out_indices": [index for number in features if (index := self.out_indices[number]) is not None],
        }


def read_encoder(config: Mapping[str, Any], state: State, extra: Mapping[str, Any]) -> SmpEncoder:
    """The encoder of an smp model.

    Args:
        config: smp's constructor arguments.
        state: the whole model's tensors.
        extra: other arguments; ``tu-`` encoders pass them to timm.

    Raises:
        WeightsError: the encoder is not supported.
        ConfigError: an argument is not supported.
    """
    name = str(config.get("encoder_name", "resnet34"))
    depth = int(config.get("encoder_depth", 5))
    output_stride = int(config.get("encoder_output_stride", 32))
    if name.startswith(SAME_AS_TU):
        name = name.replace("timm-", "tu-tf_" if "mobilenetv3" in name else "tu-")
    backbone: dict[str, Any] = {"in_channels": int(config.get("in_channels", 3))}
    if output_stride != 32:
        backbone["output_stride"] = output_stride
    if name.startswith("tu-"):
        return _universal(name.removeprefix("tu-"), backbone, state, dict(extra), depth)
    if extra:
        raise ConfigError(f"smp: the arguments {', '.join(extra)} are not supported")
    if name not in (*SMP_RESNETS, *MOBILENETS):
        raise WeightsError(
            f"smp: encoder '{name}' is not supported; supported are {', '.join((*SMP_RESNETS, *MOBILENETS))}, and tu-NAME with "
            "timm's models that take images of any size"
        )
    backbone.update(name=MOBILENETS.get(name, name), mean=MEAN, std=STD, size_multiple=min(output_stride, 2**depth))
    if output_stride != 32 and name in SMP_RESNETS:
        backbone["dilate_first"] = True
    out_indices: list[int | None] = [*(MOBILENET_BLOCKS if name in MOBILENETS else range(5))][:depth]
    tensors = {re.sub(r"^encoder\.", "backbone.body.", key): value for key, value in state.items()}
    return SmpEncoder(backbone, out_indices, _strides(depth, output_stride), tensors)


def _universal(name: str, backbone: dict[str, Any], state: State, args: dict[str, Any], depth: int) -> SmpEncoder:
    """One of timm's models; smp uses timm's features-only wrapper, which flattens the names of containers."""
    alignment = alignment_of(name)
    if alignment is None or alignment.kind not in ("any", "multiple") or alignment.arguments:
        raise WeightsError(
            f"smp: encoder 'tu-{name}' is not supported; of timm's models those are that take images of any size"
        )
    args = {key: value for key, value in args.items() if value is not None}
    with torch.device("meta"):
        body: Any = timm.create_model(name, pretrained=False, num_classes=0, **args)
    reductions = [int(stage["reduction"]) for stage in getattr(body.feature_info, "info", body.feature_info)]
    out_indices: list[int | None] = [
        reductions.index(2**n) if 2**n in reductions else None for n in range(1, depth + 1)
    ]
    if None in out_indices[1:]:
        raise WeightsError(f"smp: encoder 'tu-{name}' has no map at each stride up to {2**depth}")
    known = set(body.state_dict())
    flat = {re.sub(r"^(\w+?)\.(\w+)\.", r"\1_\2.", key): key for key in known}
    tensors: State = {}
    for key, value in state.items():
        short = re.sub(r"^encoder\.(model\.){0,2}", "", key)
        target = short if short in known else flat.get(short)
        tensors[f"backbone.body.{target}" if target and key.startswith("encoder.") else key] = value
    output_stride = int(backbone.get("output_stride", 32))
    backbone = {"name": name, **backbone, **({"args": args} if args else {})}
    backbone["size_multiple"] = min(output_stride, 2**depth) if alignment.kind == "any" else 32
    return SmpEncoder(backbone, out_indices, _strides(depth, output_stride), tensors)


def _strides(depth: int, output_stride: int) -> list[int]:
    return [min(2**number, output_stride) for number in range(1, depth + 1)]
