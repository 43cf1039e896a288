"""The raw outputs of a teacher's decoder, in the form in which a student's decoder compares them with its outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils import _pytree as tree

from vertebra.decoders.base import AnyDecoder, OutputsT
from vertebra.errors import ConfigError
from vertebra.features import Features


def teacher_outputs(teacher: AnyDecoder, features: Features, outputs: OutputsT) -> OutputsT:
    """The outputs of a teacher's decoder, of the same kind as a student's.

    Args:
        teacher: a decoder that reads no boxes.
        features: of the teacher.
        outputs: of the student.

    Raises:
        ConfigError: they are of another kind.
    """
    taught: Any = None if teacher.needs is not None else teacher(features)
    if not isinstance(taught, type(outputs)):
        raise ConfigError(
            f"the teacher's decoder is {type(teacher).__name__}, whose outputs cannot be compared with this one's; use the "
            "teacher's decoder in this model too"
        )
    return taught


def aligned_outputs(teacher: AnyDecoder, features: Features, outputs: OutputsT) -> OutputsT:
    """Like `teacher_outputs`, of the same shapes as the student's.

    Raises:
        ConfigError: they are of another kind or have other shapes.
    """
    taught = teacher_outputs(teacher, features, outputs)
    check_shapes(outputs, taught)
    return taught


def check_same_decoder(student: AnyDecoder, teacher: AnyDecoder) -> None:
    """Raises `ConfigError` unless two decoders are of one class, and both read the boxes of another branch or neither does."""
    if type(student) is not type(teacher) or student.needs != teacher.needs:
        kinds = [
            f"{type(decoder).__name__}{'' if decoder.needs is None else f' on {decoder.needs}'}"
            for decoder in (teacher, student)
        ]
        raise ConfigError(f"the teacher's decoder is {kinds[0]}, and this one {kinds[1]}; use the teacher's here too")


def check_shapes(outputs: Any, taught: Any) -> None:
    """Raises `ConfigError` unless two raw outputs have the same shapes."""
    shapes = [
        [tuple(leaf.shape) for leaf in tree.tree_leaves(values) if isinstance(leaf, Tensor)]
        for values in (taught, outputs)
    ]
    if shapes[0] != shapes[1]:
        differing = next(
            (pair for pair in zip(*shapes, strict=False) if pair[0] != pair[1]), (len(shapes[0]), len(shapes[1]))
        )
        raise ConfigError(
            f"the teacher's outputs have the shape {differing[0]}, and this decoder's {differing[1]}; use the teacher's neck and "
            "decoder with the same options here too, on a backbone with levels at the same strides"
        )
