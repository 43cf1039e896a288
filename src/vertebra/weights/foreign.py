"""Tables of other libraries' key names, turned into timm's. Each is proved by equal outputs in the tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

State = dict[str, Tensor]


def to_timm(architecture: str, state: Mapping[str, Tensor]) -> State | None:
    """A state dict with torchvision's key names under timm's, or None where no table knows this architecture.

    ResNet, ResNeXt, Wide ResNet and DenseNet have the same names in both and need no table.

    Args:
        architecture: the timm model's name.
    """
    for start, convert in _TABLES.items():
        if architecture.startswith(start):
            return convert(dict(state))
    return None


def _mobilenet_v2(state: State) -> State:
    """torchvision.models.mobilenet_v2 to timm mobilenetv2_*: inverted residuals count from 1 there, by stage here."""
    places = {}
    number = 1
    for stage, repeats in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for block in range(repeats):
            places[number] = f"blocks.{stage}.{block}"
            number += 1
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    other = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
    stems = {"0.0": "conv_stem", "0.1": "bn1", "18.0": "conv_head", "18.1": "bn2"}

    def rename(name: str) -> str:
        inner = re.fullmatch(r"features\.(\d+)\.conv\.(\d(?:\.\d)?)\.(\w+)", name)
        if inner and int(inner[1]) in places:
            table = first if inner[1] == "1" else other
            if inner[2] in table:
                return f"{places[int(inner[1])]}.{table[inner[2]]}.{inner[3]}"
        outer = re.fullmatch(r"features\.(\d+\.\d)\.(\w+)", name)
        if outer and outer[1] in stems:
            return f"{stems[outer[1]]}.{outer[2]}"
        return name.replace("classifier.1.", "classifier.")

    return {rename(name): value for name, value in state.items()}


def _vgg(state: State) -> State:
    """torchvision.models.vgg* to timm vgg*: the two fully connected layers are convolutions there."""
    renamed: State = {}
    for name, value in state.items():
        if name == "classifier.0.weight":
            renamed["pre_logits.fc1.weight"] = value.reshape(value.shape[0], -1, 7, 7)
        elif name == "classifier.3.weight":
            renamed["pre_logits.fc2.weight"] = value[:, :, None, None]
        else:
            for old, new in (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2"), ("classifier.6", "head.fc")):
                name = name.replace(old, new)
            renamed[name] = value
    return renamed


_TABLES: dict[str, Callable[[State], State]] = {"mobilenetv2": _mobilenet_v2, "vgg": _vgg}
