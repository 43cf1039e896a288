"""Refuses training data in which only some classes are annotated, where a decoder would take the others for background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.data.sources import Source
from vertebra.decoders.base import AnyDecoder
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.parts import find, names
from vertebra.tasks import get_task

NAMED = 8  # decoders in a message


def check_scope(model: VisionModel, sources: Sequence[Source]) -> None:
    """Checks that the decoders can be trained on images in which not all classes are annotated.

    Raises:
        ConfigError: one cannot, or has no image with all classes; the message names decoders that can.
    """
    for name in model.branches:
        decoder = model.branch(name).decoder
        partial, whole = _counts(name, sources)
        if not partial or decoder.scope_use == "full" or (decoder.scope_use == "some" and whole):
            continue
        kind = type(decoder).__name__
        able = ", ".join(_able(decoder)[:NAMED])
        if decoder.scope_use == "some":
            raise ConfigError(
                f"branch '{name}': none of its {partial} training images has all classes annotated, and {kind} learns what is no "
                f"object only from images that have; add such images, or use a decoder that needs none: {able}"
            )
        raise ConfigError(
            f"branch '{name}': not all classes are annotated in {partial} of its training images, and {kind} takes what is not "
            f"annotated for background; use another decoder: {able}"
        )


def _counts(branch: str, sources: Sequence[Source]) -> tuple[int, int]:
    """The numbers of images of a branch in which some, and in which all classes are annotated."""
    partial = whole = 0
    for source in sources:
        if branch in source.branches:
            task = source.branches[branch]
            column = source.index.columns[task]
            labeled = np.asarray(column.labeled, dtype=bool)
            some = get_task(task).data.partly_annotated(column)
            count = 0 if some is None else int((some & labeled).sum())
            partial, whole = partial + count, whole + int(labeled.sum()) - count
    return partial, whole


def _able(decoder: AnyDecoder) -> list[str]:
    """The decoders of the same task that need no image with all classes."""
    classes = {name: find("decoder", name) for name in names("decoder")}
    return [name for name, each in classes.items() if each.task == decoder.task and each.scope_use == "full"]
