"""Where a model runs."""

from __future__ import annotations

import torch

from vertebra.errors import ConfigError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The given device, or the best there is.

    Raises:
        ConfigError: there is no such device.
    """
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ConfigError(f"no such device: '{device}'; choose cpu, cuda, cuda:1, mps …") from None
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device 'cuda' was asked for, but this machine has no GPU that torch can use; choose cpu")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
