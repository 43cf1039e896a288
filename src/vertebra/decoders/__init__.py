"""Decoders by name. Each turns features into the outputs, the loss and the decoded predictions of one task."""

from __future__ import annotations

from typing import Any

from vertebra.decoders.base import Decoder
from vertebra.decoders.fcos import FCOS
from vertebra.decoders.retinanet import RetinaNet

DECODERS: dict[str, type[Any]] = {
    "fcos": FCOS,
    "retinanet": RetinaNet,
}

__all__ = ["DECODERS", "Decoder"]
