"""Weights of backbones: from timm's hub, or from a local file with timm's or torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from vertebra.backbones.hub import from_hub, from_url, unavailable
from vertebra.checkpoints import LoadReport, load_file
from vertebra.errors import WeightsError
from vertebra.weights.foreign import to_timm


def create(name: str, *, hub: bool, **arguments: Any) -> nn.Module:
    """A timm model, with its published weights if ``hub`` is true.

    Raises:
        WeightsError: there are no such weights, or the hub cannot be reached.
    """
    if not hub:
        module: nn.Module = timm.create_model(name, pretrained=False, **arguments)
        return module
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        tagged = [tag for tag in timm.list_pretrained() if tag.split(".")[0] == name.split(".")[0]]
        raise WeightsError(
            f"timm has no pretrained weights for '{name}'"
            + (f"; it has {', '.join(tagged[:4])}" if tagged else "; choose another backbone, or pretrained: false")
        )
    try:
        with from_url(), from_hub():  # some weights are on the hub, others at a URL
            loaded: nn.Module = timm.create_model(name, pretrained=True, **arguments)
        return loaded
    except TypeError:
        raise  # arguments that this architecture does not have
    except Exception as error:  # the hub's client raises many kinds of errors
        raise unavailable(name, error) from error


def published_by(body: nn.Module) -> dict[str, str]:
    """Source and license of a timm model's published weights, from timm's configuration."""
    config: Any = getattr(body, "pretrained_cfg", {})
    name = ".".join(filter(None, (config.get("architecture"), config.get("tag"))))
    license = config.get("license")
    return {"source": f"timm:{name}", **({"license": str(license)} if license else {})}


def load_local(
    body: nn.Module, name: str, path: str | Path, in_channels: int, norm_eps: float | None = None
) -> LoadReport:
    """Loads a file with timm's or torchvision's parameter names, whichever match better, under any prefix.

    The first convolution is adapted to another number of input channels, as in timm.

    Raises:
        WeightsError: the file cannot be read, or too few tensors match.
    """

    def convert(state: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
        return to_timm(name, state) if norm_eps is None else to_timm(name, state, norm_eps)

    try:
        return load_file(body, path, convert=convert, adapt=lambda state: _adapt_first_conv(body, state, in_channels))
    except (NotImplementedError, AssertionError):  # timm can adapt only 3 channels
        raise WeightsError(
            f"{path}: its first convolution has another number of channels, and only one of 3 channels can be adapted to "
            f"{in_channels}; give weights for {in_channels} or 3 channels"
        ) from None


def _adapt_first_conv(body: nn.Module, state: dict[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    config: Any = getattr(body, "pretrained_cfg", {})
    first = config.get("first_conv") or ()
    for conv in (first,) if isinstance(first, str) else first:
        key = f"{conv}.weight"
        if key in state and state[key].ndim == 4 and state[key].shape[1] != in_channels:
            state = {**state, key: timm.models.adapt_input_conv(in_channels, state[key])}
    return state
