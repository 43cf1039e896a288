"""The input sizes at which each of timm's architecture families returns aligned maps, measured by ``scripts/survey_timm.py``.

A map at stride s is aligned if it has ceil(H / s) cells for a canvas of height H. Some families are aligned at all sizes,
most at multiples of their coarsest stride, some at one size only, and a few never.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["any", "multiple", "sized", "native", "refused"]

MEASURED_ON = "timm 1.0.31"


@dataclass(frozen=True)
class Alignment:
    """The input sizes at which a family's maps are aligned with the image.

    Attributes:
        kind: "any": all sizes. "multiple": multiples of the coarsest stride, to which the model pads. "sized": one size, set
            when the model is built. "native": the size of its weights only. "refused": none; the family can classify, but
            returns no maps.
        reason: why it is refused.
        arguments: constructor arguments that allow other input sizes.
    """

    kind: Kind
    reason: str = ""
    arguments: tuple[tuple[str, object], ...] = ()


_ANY = Alignment("any")
_MULTIPLE = Alignment("multiple")
_DYNAMIC = Alignment("multiple", arguments=(("dynamic_img_size", True),))
_SIZED = Alignment("sized")
_NATIVE = Alignment("native")
_UNPADDED = "its convolutions are unpadded, so its maps are cropped at the border and shifted against the image"

ALIGNMENT: dict[str, Alignment] = {
    **dict.fromkeys(
        [
            "byobnet", "cpubone", "cspnext", "davit", "dpn", "efficientnet", "efficientvim", "efficientvit_mit",
            "efficientvit_msra", "fastvit", "ghostnet", "hardcorenas", "hgnet", "iformer", "lcnetv2", "lowformer",
            "mambaout", "mobilenetv3", "mobilenetv5", "mobilevit", "mvitv2", "nextvit", "nfnet", "pvt_v2", "regnet",
            "repghost", "repvit", "res2net", "resnest", "resnet", "resnetv2", "rexnet", "selecsls", "shvit", "sknet", "starnet",
            "swiftformer", "tiny_vit", "xception_aligned", "xcit",
        ],
        _ANY,
    ),
    **dict.fromkeys(
        [
            "convmixer", "convnext", "csatv2", "cspnet", "deepseek_vit", "densenet", "dla", "edgenext", "fasternet",
            "focalnet", "hieradet_sam2", "hrnet", "inception_next", "metaformer", "naflexvit", "qwen3_vit",
            "rdnet", "senet", "sequencer", "twins", "vgg", "vovnet",
        ],
        _MULTIPLE,
    ),
    **dict.fromkeys(
        [
            "deit", "eva", "swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "vision_transformer",
            "vision_transformer_hybrid", "vision_transformer_sam",
        ],
        _DYNAMIC,
    ),
    **dict.fromkeys(
        [
            "beit", "cait", "coat", "efficientformer_v2", "gcvit", "hiera", "levit", "maxxvit", "mlp_mixer", "tnt",
            "visformer", "vision_transformer_relpos", "volo",
        ],
        _SIZED,
    ),
    **dict.fromkeys(["byoanet", "convit", "efficientformer", "nest"], _NATIVE),
    **dict.fromkeys(
        ["inception_v3", "inception_v4", "inception_resnet_v2", "xception"], Alignment("refused", _UNPADDED)
    ),
    **dict.fromkeys(["nasnet", "pnasnet"], Alignment("refused", _UNPADDED)),
    "crossvit": Alignment("refused", "its two branches have patches of 12 and 17 pixels, which do not divide each other"),
    "gemma4_vit": Alignment("refused", "it takes patches with positions of their own, not a canvas"),
    "pit": Alignment("refused", "its overlapping patches are unpadded, so its maps lie between the strides"),
    "tresnet": Alignment("refused", "its declared strides are not those of its maps"),
    "vitamin": Alignment("refused", "its declared channels are not those of its maps"),
}  # fmt: skip
