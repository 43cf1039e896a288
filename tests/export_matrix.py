"""Which model exports: every decoder, behind the parts that it usually stands on, on representative backbones; and models of
several branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from vertebra.build import create_model
from vertebra.config_short_forms import task_of_decoder
from vertebra.errors import ExportError, IncompatiblePartsError
from vertebra.export.export_model import export_model
from vertebra.export.options import Canvas
from vertebra.export.parity import UNTRAINED_HINT
from vertebra.model import VisionModel
from vertebra.parts import names
from vertebra.testing.matrix import Combination, boxes_from
from vertebra.testing.synthetic import fake_fields

# one small model of each kind of body, on which every decoder is exported
EXPORTED = (
    "test_resnet",
    "vgg11",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "test_efficientnet",
    "test_convnext",
    "regnetx_002",
    "test_vit",
)
# larger graphs, which take minutes: on them one decoder of each task
SLOW = ("densenet121", "swin_tiny_patch4_window7_224")
ONE_OF_EACH = ("linear", "retinanet", "upsample", "heatmap")

CANVAS = (64, 64)
SEEDS = 4  # of random weights, before it is said that rounding decides what a model says
CLASSES = ["c0", "c1", "c2"]

# neck and encoder that a decoder usually stands on; one that is not named here stands on the backbone alone
USUAL: Mapping[str, tuple[str | None, str | None]] = MappingProxyType(
    {
        "attention_pool": (None, "transformer"),
        "upsample": (None, "conv"),
        "fcn": (None, "pyramid_pooling"),
        "deeplabv3": (None, "aspp"),
        "deeplabv3plus": (None, "aspp"),
        "fpn": ("fpn", None),
        "retinanet": ("fpn", None),
        "faster_rcnn": ("fpn", None),
        "condinst": ("fpn", None),
        "mask_rcnn": ("fpn", None),
        "roi_head": ("fpn", None),
        "fcos": ("bifpn", None),
        "rotated_fcos": ("fpn", None),
        "rotated_retinanet": ("fpn", None),
        "tood": ("pafpn", None),
        "yolox": ("pafpn", None),
        "ssd": ("ssd_extra", None),
        "ssdlite": ("ssd_extra", None),
        "rt_detr": (None, "hybrid"),
        "detr": (None, "deformable"),
        "mask2former": (None, "deformable"),
        "mask2former_instances": (None, "deformable"),
    }
)

MULTI_BRANCH: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "classes, boxes and regions, each behind its own parts": {
            "backbone": "mobilenetv2_035",
            "branches": {
                "animal": {"decoder": "linear", "classes": CLASSES},
                "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": CLASSES},
                "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "classes": CLASSES},
            },
        },
        "boxes, and points on these boxes": {
            "backbone": "resnet10t",
            "branches": {
                "boxes": {"neck": "fpn", "decoder": "fcos", "classes": CLASSES},
                "pose": {"decoder": "heatmap", "boxes_from": "boxes", "classes": CLASSES, "points": ["head", "tail"]},
            },
        },
        "boxes, and masks of these boxes, on one shared neck": {
            "backbone": "resnet10t",
            "shared": {"neck": {"name": "fpn", "channels": 32}},
            "branches": {
                "boxes": {"decoder": {"name": "fcos", "postprocess": {"max_detections": 8}}, "classes": CLASSES},
                "masks": {"decoder": {"name": "mask_rcnn", "convs": 1}, "boxes_from": "boxes", "classes": CLASSES},
            },
        },
        "two detectors and regions on one shared neck": {
            "backbone": "convnext_atto",
            "shared": {"neck": {"name": "fpn", "extra_levels": 2}},
            "branches": {
                "animals": {"decoder": "retinanet", "classes": CLASSES},
                "plants": {"decoder": "tood", "classes": CLASSES},
                "regions": {"decoder": "fpn", "classes": CLASSES},
            },
        },
    }
)


class Outcome(NamedTuple):
    """What came of an export.

    Attributes:
        canvas: "free" for a file that takes any canvas, "fixed" for one that takes the model's own only, "none" for no file,
            "refused" where there is no such model.
        reason: why not free; empty where it is.
    """

    canvas: Literal["free", "fixed", "none", "refused"]
    reason: str = ""


def usual(backbone: str, decoder: str, seed: int = 0) -> VisionModel:
    """A decoder behind its usual neck and encoder; behind neck 'simple_pyramid' where the backbone has one stride and this will
    not do.

    Args:
        backbone, decoder: names.
        seed: of the random weights.

    Raises:
        IncompatiblePartsError: neither fits.
    """
    neck, encoder = USUAL.get(decoder, (None, None))
    try:
        return _single(Combination(backbone, neck, encoder, decoder), seed)
    except IncompatiblePartsError:
        return _single(Combination(backbone, "simple_pyramid", encoder, decoder), seed)


def _single(combination: Combination, seed: int) -> VisionModel:
    torch.manual_seed(seed)
    model = create_model(
        combination.backbone,
        neck=combination.neck,
        encoder=combination.encoder,
        decoder=combination.decoder,
        boxes_from=boxes_from(combination.decoder),
        classes=CLASSES,
        labels=fake_fields(task_of_decoder(combination.decoder)),
        image_size=CANVAS,
    )
    return _spread(model)


def _spread(model: VisionModel) -> VisionModel:
    """Random norms and biases, so that scores are as different as a trained model's: an untrained detector's are nearly all one
    number, near the least that is kept, and rounding decides what comes out."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_var is not None:
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0.0, 0.1)  # type: ignore[arg-type]
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.normal_(layer.bias, 0.0, 0.3)
    return model


def multi_branch(name: str, seed: int = 0) -> VisionModel:
    """One of `MULTI_BRANCH`, with random weights of a seed."""
    torch.manual_seed(seed)
    return _spread(create_model(**MULTI_BRANCH[name], image_size=CANVAS))


def pairs() -> list[tuple[str, str]]:
    """All pairs of a backbone and a decoder that `outcome` is published for: one decoder of each task on every backbone first."""
    first = list(product((*EXPORTED, *SLOW), ONE_OF_EACH))
    return [*first, *(pair for pair in product(EXPORTED, names("decoder")) if pair not in first)]


def outcome(build: Callable[[int], VisionModel], folder: Path, canvas: Canvas = "auto") -> Outcome:
    """Exports a model from its canvas on, with the comparison in ONNX Runtime.

    Where rounding decides what a model with random weights says, other weights are drawn.

    Args:
        build: gives the model with the weights of a seed.
        folder: where the file goes.
        canvas: as of `export_model`; "fixed" saves the try to leave it free.

    Raises:
        IncompatiblePartsError: its parts do not fit.
    """
    found = Outcome("none")
    for seed in range(SEEDS):
        found = _outcome(build(seed), folder / f"{seed}.onnx", canvas)
        if UNTRAINED_HINT not in found.reason:
            break
    return found


def _outcome(model: VisionModel, file: Path, canvas: Canvas) -> Outcome:
    try:
        report = export_model(model, file, input="canvas", canvas=canvas)
    except ExportError as error:
        return Outcome("none", str(error))
    return Outcome("free") if report["free_canvas"] else Outcome("fixed", report["why_fixed"])
