"""Selects the device that a model runs on."""

from __future__ import annotations

import torch

from vertebra.errors import ConfigError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device of this name, or the best available.

    Raises:
        ConfigError: there is no such device.
    """
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ConfigError(f"no such device: '{device}'; choose cpu, cuda, cuda:1, mps …") from None
        try:
            torch.empty(0, device=chosen)
        except (
            RuntimeError,
            AssertionError,
            NotImplementedError,
        ) as error:  # each kind of device raises its own errors
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise ConfigError(f"torch cannot use device '{device}' on this machine ({reason}); choose cpu") from None
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
