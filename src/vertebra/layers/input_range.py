"""Checks the range of a model's input: 0..255, in uint8 or in floats."""

from __future__ import annotations

from torch import Tensor

from vertebra.errors import DataError
from vertebra.layers.tracing import is_tracing


def check_pixel_range(images: Tensor) -> None:
    """Refuses floats that are in 0..1 or normalized, which a model that takes 0..255 would silently treat as black images.

    Integers are not checked, and nothing is checked while a graph is traced, where values are unknown.

    Args:
        images: a batch.

    Raises:
        DataError: the highest value is above 0 and at most 1, or one is negative.
    """
    if not images.is_floating_point() or is_tracing(images) or images.is_meta or not images.numel():
        return
    lowest, highest = (float(value) for value in images.detach().aminmax())
    if 0 < highest <= 1 or lowest < 0:
        raise DataError(
            f"images hold floats from {lowest:.3g} to {highest:.3g}, but the model takes 0 to 255, not normalized, in uint8 "
            "or floats: multiply values in 0 to 1 by 255; model.predict(...) takes images of all kinds"
        )
