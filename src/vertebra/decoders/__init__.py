"""Decoders by name. Each turns features into the outputs, the loss and the decoded predictions of one task."""

from __future__ import annotations

from typing import Any

from vertebra.decoders.base import Decoder
from vertebra.decoders.deeplabv3plus import DeepLabV3Plus
from vertebra.decoders.fcos import FCOS
from vertebra.decoders.linear import Linear
from vertebra.decoders.retinanet import RetinaNet
from vertebra.decoders.unet import UNet
from vertebra.decoders.upsample import Upsample

DECODERS: dict[str, type[Any]] = {
    "deeplabv3plus": DeepLabV3Plus,
    "fcos": FCOS,
    "linear": Linear,
    "retinanet": RetinaNet,
    "unet": UNet,
    "upsample": Upsample,
}

__all__ = ["DECODERS", "Decoder"]
