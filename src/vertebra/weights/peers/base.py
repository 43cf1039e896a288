"""A model of another library, described as a Vertebra model."""

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
    """A peer's model: the config of the equivalent Vertebra model, and its tensors under Vertebra's names.

    Attributes:
        model: the ``model`` section of a config, with branches named after their tasks, the classes, and all options that
            make the outputs equal.
        resize_spec: how its images are resized to the canvas.
        tensors: by Vertebra's names; tensors without a counterpart keep the peer's name and are reported as left over.
        dropped: regular expressions of the peer's names that are ignored on purpose (anchors, counters).
        license: license of the published weights, as stated by their source.
    """

    model: dict[str, Any]
    resize_spec: ResizeSpec
    tensors: State
    dropped: tuple[str, ...] = ()
    license: str = ""


TorchvisionBuilder = Callable[[str, State], PeerModel]
"""From the name of a torchvision model and its state dict to a `PeerModel`."""

FolderBuilder = Callable[[Mapping[str, Any], State], PeerModel]
"""From the ``config.json`` of a published folder and its state dict to a `PeerModel`."""


def renamed(state: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]) -> State:
    """A state dict with each name rewritten by the first rule that matches its beginning.

    Args:
        rules: pairs of a regular expression, matched at the beginning of a name, and the replacement of the match (with
            ``\\1`` for its groups). A name that no rule matches is unchanged.

    Raises:
        ValueError: two tensors get the same name.
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
