"""State dicts from files, and what of them fits a module."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vertebra.errors import WeightsError

WRAPPINGS = ("state_dict", "model_state_dict", "model", "model_ema")
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class LoadReport:
    """What of a file came into a module.

    Attributes:
        matched: names that were loaded.
        missing: names of the module that the file has not; they keep their initial values.
        leftover: names of the file that the module has not.
        mismatched_shapes: names that both have, but with different shapes; they keep their initial values.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    leftover: tuple[str, ...]
    mismatched_shapes: tuple[str, ...]

    def summary(self) -> str:
        """One line: how many of the module's tensors matched, and the first names of what did not."""
        wanted = len(self.matched) + len(self.missing) + len(self.mismatched_shapes)
        parts = [f"{len(self.matched)} of {wanted} tensors matched"]
        for word, names in self._rest():
            if names:
                parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")
        return ", ".join(parts)

    def details(self) -> str:
        """Several lines: the counts, then every name that is missing, left over or of another shape."""
        lines = [f"{len(self.matched)} matched"]
        for word, names in self._rest():
            lines.append(f"{len(names)} {word}" + (":" if names else ""))
            lines.extend(f"  {name}" for name in names)
        return "\n".join(lines)

    def _rest(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("missing", self.missing),
            ("left over", self.leftover),
            ("of another shape", self.mismatched_shapes),
        )


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file: safetensors, or what ``torch.save`` wrote (read with ``weights_only=True``).

    Wrappings that trainers add are taken off: `WRAPPINGS`, and the prefixes of data-parallel and compiled modules.

    Raises:
        WeightsError: there is no such file, it is cut off, it holds more than plain tensors, or none at all.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path}: a folder; give the weight file in it")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file; check the path")
    try:
        if path.suffix == ".safetensors":
            return unwrap(load_file(path))
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except SafetensorError as error:
        raise _damaged(path, error) from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):  # a class or function that unpickling would have called
            raise WeightsError(
                f"{path}: holds more than plain tensors, and nothing in a file is executed; "
                "save module.state_dict() where it was made, and give that file"
            ) from None
        raise _damaged(path, "not what torch.save writes") from None
    except (RuntimeError, EOFError, BadZipFile, OSError, ValueError) as error:
        raise _damaged(path, error) from None
    except (LookupError, TypeError, AttributeError):  # the unpickler stumbling over bytes that are no pickle
        raise _damaged(path, "not what torch.save writes") from None


def _damaged(path: Path, reason: Exception | str) -> WeightsError:
    text = " ".join(str(reason).strip().split("\n")[0].split()) or "it ends too early"
    text = text if len(text) <= 120 else text[:119] + "…"
    return WeightsError(f"{path}: cut off or no weight file ({text}); copy or download it again")


def unwrap(loaded: Any) -> dict[str, Tensor]:
    """The plain state dict inside what a file held.

    Raises:
        ValueError: there are no tensors by name in it.
    """
    for key in WRAPPINGS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}, not tensors by name")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError("it holds no tensors by name")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def load_matching(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] | None = None,
    source: str | Path = "the weights",
) -> LoadReport:
    """Loads every tensor whose name and shape fit, and reports the rest.

    Args:
        rename: from a name in ``state`` to the module's name for it.
        source: where the tensors came from, for messages.

    Raises:
        WeightsError: nothing fits; counters and scalars do not count as a fit.
    """
    given = {rename(name) if rename else name: value for name, value in state.items()}
    own = module.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    report = LoadReport(
        matched=tuple(fitting),
        missing=tuple(name for name in own if name not in given),
        leftover=tuple(name for name in given if name not in own),
        mismatched_shapes=tuple(name for name in given if name in own and name not in fitting),
    )
    if not any(own[name].ndim > 0 for name in fitting):
        raise WeightsError(
            f"{source}: none of its {len(given)} tensors fits (the file has {', '.join(list(given)[:3])} …; "
            f"wanted are {', '.join(list(own)[:3])} …); give weights of this very architecture"
        )
    module.load_state_dict({**own, **fitting})
    return report
