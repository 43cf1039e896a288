"""What a peer's model is, in Vertebra's terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class PeerModel:
    """A peer's model: the composition that equals it, and its tensors under our names.

    Attributes:
        model: what stands under ``model`` in a config, one branch named after its task, with the classes and every option
            that makes the outputs equal.
        resize_spec: how its images come onto the canvas.
        tensors: by our names; what has no place keeps the peer's name, so that it is reported as left over.
        dropped: regular expressions of the peer's names that are left out on purpose (anchors, counters).
        license: of the published weights, as their source states it.
    """

    model: dict[str, Any]
    resize_spec: ResizeSpec
    tensors: State
    dropped: tuple[str, ...] = ()
    license: str = ""


TorchvisionBuilder = Callable[[str, State], PeerModel]
"""From the name of a torchvision model and its state dict to the model in our terms."""

FolderBuilder = Callable[[Mapping[str, Any], State], PeerModel]
"""From the ``config.json`` of a published folder and its state dict to the model in our terms."""


def renamed(state: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]) -> State:
    """A state dict under other names: each name by the first rule that matches its beginning.

    Args:
        rules: pairs of a regular expression, matched at the name's beginning, and what the match becomes (with ``\\1``
            for its groups). A name that no rule matches stays as it is.

    Raises:
        ValueError: two names became one.
    """
    compiled = [(re.compile(old), new) for old, new in rules]
    result: State = {}
    for name, value in state.items():
        changed = name
        for old, new in compiled:
            if old.match(name):
                changed = old.sub(new, name, count=1)
                break
        if changed in result:
            raise ValueError(f"two tensors would be called '{changed}'")
        result[changed] = value
    return result
