"""All decoders declare the types of their outputs, targets and decoded outputs, which are those of their task."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import pytest
from torch import Tensor

from vertebra.decoders import DECODERS
from vertebra.decoders.base import AnyDecoder, Decoder
from vertebra.tasks.box_attributes.targets import AttributeDecoded, AttributeTargets
from vertebra.tasks.classify.targets import ClassifyDecoded, ClassifyTargets
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets
from vertebra.tasks.instances.targets import InstanceDecoded, InstanceTargets
from vertebra.tasks.keypoints.targets import KeypointDecoded, KeypointTargets
from vertebra.tasks.rotated_boxes.targets import RotatedBoxDecoded, RotatedBoxTargets
from vertebra.tasks.segment.targets import SegmentDecoded, SegmentTargets

TYPES = {
    "box_attributes": (AttributeTargets, AttributeDecoded),
    "classify": (ClassifyTargets, ClassifyDecoded),
    "detect": (DetectTargets, DetectDecoded),
    "instances": (InstanceTargets, InstanceDecoded),
    "keypoints": (KeypointTargets, KeypointDecoded),
    "rotated_boxes": (RotatedBoxTargets, RotatedBoxDecoded),
    "segment": (SegmentTargets, SegmentDecoded),
}


def stated(kind: type[AnyDecoder]) -> tuple[Any, ...]:
    """The type arguments of ``Decoder[...]`` in a class or its bases, with type variables resolved."""
    for base in getattr(kind, "__orig_bases__", ()):
        origin = get_origin(base) or base
        if origin is Decoder:
            return get_args(base)
        if isinstance(origin, type) and issubclass(origin, Decoder):
            filled = dict(zip(getattr(origin, "__parameters__", ()), get_args(base), strict=True))
            return tuple(filled.get(one, one) if isinstance(one, TypeVar) else one for one in stated(origin))
    return stated(kind.__bases__[0])


@pytest.mark.parametrize("name", DECODERS)
def test_the_types_of_a_decoder(name: str) -> None:
    decoder = DECODERS[name]
    outputs, targets, decoded = stated(decoder)
    assert (targets, decoded) == TYPES[decoder.task]
    assert issubclass(outputs, tuple) and outputs._fields
    assert all(get_type_hints(decoded)[field] is Tensor for field in decoded._fields)
    if "forward" in vars(decoder):
        assert get_type_hints(decoder.forward)["return"] is outputs
