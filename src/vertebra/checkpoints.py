"""State dicts from files, and what of them fits a module."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vertebra.errors import WeightsError


@dataclass(frozen=True)
class LoadReport:
    """What of a file came into a module.

    Attributes:
        matched: names that were loaded.
        missing: names of the module that the file has not; they keep their initial values.
        leftover: names of the file that the module has not.
        misshaped: names that both have, but with different shapes; they keep their initial values.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    leftover: tuple[str, ...]
    misshaped: tuple[str, ...]

    def summary(self) -> str:
        """One line: how many matched, and the first names of what did not."""
        text = f"{len(self.matched)} tensors matched"
        for names, word in ((self.missing, "missing"), (self.leftover, "left over"), (self.misshaped, "of another shape")):
            if names:
                text += f", {len(names)} {word} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        return text


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file: safetensors, or what ``torch.save`` wrote (read with ``weights_only=True``).

    Wrappings that trainers add are taken off: ``state_dict``, ``model``, ``model_ema``, and the prefix ``module.``.

    Raises:
        WeightsError: there is no such file, it is cut off, or it holds more than plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
    try:
        if path.suffix == ".safetensors":
            return unwrap(load_file(path))
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except SafetensorError as error:
        raise WeightsError(f"{path}: cut off or no safetensors file ({error}); copy or download it again") from None
    except pickle.UnpicklingError as error:
        first = str(error).split("\n")[0]
        raise WeightsError(f"{path}: holds more than plain tensors, and nothing in a file is executed ({first})") from None
    except (RuntimeError, EOFError, BadZipFile, OSError, ValueError) as error:
        first = str(error).split("\n")[0]
        raise WeightsError(f"{path}: cut off or no weight file ({first}); copy or download it again") from None


def unwrap(loaded: Any) -> dict[str, Tensor]:
    """The plain state dict inside what a file held."""
    for key in ("state_dict", "model", "model_ema"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"holds a {type(loaded).__name__}, not tensors by name")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def load_matching(module: nn.Module, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Loads every tensor whose name and shape fit, and reports the rest.

    Args:
        source: where the tensors came from, for messages.

    Raises:
        WeightsError: nothing fits.
    """
    own = module.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    report = LoadReport(
        matched=tuple(fitting),
        missing=tuple(name for name in own if name not in state),
        leftover=tuple(name for name in state if name not in own),
        misshaped=tuple(name for name in state if name in own and name not in fitting),
    )
    if not any(own[name].ndim > 1 for name in fitting):
        raise WeightsError(
            f"{source}: none of its {len(state)} tensors fits (the file has {', '.join(list(state)[:3])} …; "
            f"wanted are {', '.join(list(own)[:3])} …); give weights of this very architecture"
        )
    module.load_state_dict({**own, **fitting})
    return report
