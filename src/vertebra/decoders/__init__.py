"""Decoders by name. Each turns features into the outputs, the loss and the decoded predictions of one task."""

from __future__ import annotations

from typing import Any

from vertebra.decoders.attention_pool import AttentionPool
from vertebra.decoders.base import Decoder
from vertebra.decoders.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.dpt import DPT
from vertebra.decoders.fcn import FCN
from vertebra.decoders.fcos import FCOS
from vertebra.decoders.linear import Linear
from vertebra.decoders.lraspp import LRASPP
from vertebra.decoders.retinanet import RetinaNet
from vertebra.decoders.rt_detr import RTDETR
from vertebra.decoders.segformer import SegFormer
from vertebra.decoders.unet import UNet
from vertebra.decoders.upsample import Upsample

DECODERS: dict[str, type[Any]] = {
    "attention_pool": AttentionPool,
    "deeplabv3plus": DeepLabV3Plus,
    "dpt": DPT,
    "fcn": FCN,
    "fcos": FCOS,
    "linear": Linear,
    "lraspp": LRASPP,
    "retinanet": RetinaNet,
    "rt_detr": RTDETR,
    "segformer": SegFormer,
    "unet": UNet,
    "upsample": Upsample,
}

__all__ = ["DECODERS", "Decoder"]
