"""Selects the device that a model runs on."""

from __future__ import annotations

import torch

from vertebra.errors import ConfigError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device of this name, or the best available; equal for names of the same device, such as "cuda" and "cuda:0".

    Raises:
        ConfigError: there is no such device.
    """
    if device is not None:
        try:
            chosen = torch.device(device)
        except TypeError:
            raise ConfigError(f"'device' must be a name such as cpu or cuda, got {type(device).__name__}") from None
        except RuntimeError:
            raise ConfigError(f"no such device: '{device}'; choose cpu, cuda, cuda:1, mps …") from None
        try:
            return torch.empty(0, device=chosen).device
        except (
            RuntimeError,
            AssertionError,
            NotImplementedError,
        ) as error:  # each kind of device raises its own errors
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise ConfigError(f"torch cannot use device '{device}' on this machine ({reason}); choose cpu") from None
    default = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.empty(0, device=default).device
