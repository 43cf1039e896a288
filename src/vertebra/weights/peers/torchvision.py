"""All of torchvision's models that can come in, by name."""

from __future__ import annotations

from vertebra.weights.peers import (
    torchvision_classify,
    torchvision_detection,
    torchvision_segmentation,
    torchvision_ssd,
)
from vertebra.weights.peers.base import TorchvisionBuilder


def builders() -> dict[str, TorchvisionBuilder]:
    """From the name of a builder of torchvision to what makes a `PeerModel` of its weights."""
    return {
        **torchvision_classify.BUILDERS,
        **torchvision_detection.BUILDERS,
        **torchvision_segmentation.BUILDERS,
        **torchvision_ssd.BUILDERS,
    }
