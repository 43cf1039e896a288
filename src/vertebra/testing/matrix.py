"""Compatibility of parts: all combinations of representative backbones with all necks, encoders and decoders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from vertebra.build import build
from vertebra.config_short_forms import task_of_decoder
from vertebra.errors import IncompatiblePartsError
from vertebra.model import VisionModel
from vertebra.parts import find, names
from vertebra.testing.synthetic import fake_fields

# a small model of each architecture: residual, plain, inverted residual, dense, modern convolution, windows, patches
REPRESENTATIVES = (
    "resnet10t",
    "vgg11",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "efficientnet_lite0",
    "convnext_atto",
    "densenet121",
    "regnetx_002",
    "swin_tiny_patch4_window7_224",
    "test_vit",
)

# the detector under decoders that read boxes: small, as many of its outputs go through the rest
BOXES_FROM: Mapping[str, Any] = MappingProxyType(
    {"name": "fcos", "depth": 1, "channels": 16, "postprocess": {"max_detections": 8}}
)


class Combination(NamedTuple):
    """A combination of parts by name; ``error`` is empty if they fit."""

    backbone: str
    neck: str | None
    encoder: str | None
    decoder: str
    error: str = ""


def single_decoders() -> list[str]:
    """The decoders that make a model of one branch: all but those that read another branch's boxes."""
    return [name for name in names("decoder") if find("decoder", name).needs is None]


def boxes_from(decoder: str) -> dict[str, Any] | None:
    """The decoder under one that reads boxes, as in ``create_model(boxes_from=...)``; None for any other."""
    return dict(BOXES_FROM) if find("decoder", decoder).needs == "boxes" else None


def combinations(backbones: tuple[str, ...] = REPRESENTATIVES) -> Iterator[Combination]:
    """Every combination."""
    necks, encoders = [None, *names("neck")], [None, *names("encoder")]
    for backbone, neck, encoder, decoder in product(backbones, necks, encoders, names("decoder")):
        yield Combination(backbone, neck, encoder, decoder)


def assemble(combination: Combination, backbone: Any, classes: int = 3) -> VisionModel:
    """The model of a combination, on an existing backbone; below a decoder that reads boxes a small detector, on the same neck.

    Raises:
        IncompatiblePartsError: the parts do not fit.
    """
    from vertebra.config import model_config

    task = task_of_decoder(combination.decoder)
    raw = {
        "backbone": combination.backbone,
        "decoder": combination.decoder,
        "neck": combination.neck,
        "encoder": combination.encoder,
        "classes": [f"c{index}" for index in range(classes)],
        "task": task,
        "boxes_from": boxes_from(combination.decoder),
        **fake_fields(task),
    }
    config = model_config({name: value for name, value in raw.items() if value is not None})
    return build(config, image_size=backbone.fixed_size or 64, objects={"backbone": backbone})


def fit_table(
    backbones: Sequence[str] = REPRESENTATIVES, chosen: Iterable[Combination] | None = None
) -> list[Combination]:
    """Builds combinations (without weights); the result has the error of those that do not fit.

    Args:
        chosen: combinations of these backbones; None for all.
    """
    from vertebra.backbones import TimmBackbone

    rows = []
    with torch.device("meta"):
        built = {name: TimmBackbone(name, image_size=(64, 64)) for name in backbones}
        for combination in combinations(tuple(backbones)) if chosen is None else chosen:
            try:
                assemble(combination, built[combination.backbone])
            except IncompatiblePartsError as error:
                combination = combination._replace(error=str(error))
            rows.append(combination)
    return rows
