"""The tensors of a weight file, whatever trainer wrote it. Nothing in a file is executed."""

from __future__ import annotations

import argparse
import contextlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vertebra.checkpoints.guards import check_claims, check_length, check_zip, one_line
from vertebra.errors import WeightsError

ZIP = b"PK\x03\x04"
DEPTH = 8
CONTAINERS = (Mapping, list, tuple)
READ = (Tensor, *CONTAINERS)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file: safetensors, or what ``torch.save`` wrote (read with ``weights_only=True``).

    Mappings inside are read too: their keys and the names in them are joined with dots ("state_dict.module.conv1.weight").
    Beside tensors and plain values only an ``argparse.Namespace`` is read, as timm's training checkpoints have it.

    Raises:
        WeightsError: there is no such file, it is damaged, it holds more than plain values, or no tensors.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise WeightsError(f"{path}: a folder; give the weight file in it")
        if not path.is_file():
            raise WeightsError(f"{path}: no such weight file; check the path")
        with path.open("rb") as file:
            start = file.read(9)
        if start[:4] != ZIP and (path.suffix == ".safetensors" or start[8:] == b"{"):
            check_length(path)
            found: Any = safetensors.torch.load_file(path)
        else:
            found = _unpickle(path, in_zip=start[:4] == ZIP)
        tensors = dict(flatten(found))
        check_claims(path, tensors)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from None
    except Exception as error:  # bytes that are no pickle make the unpickler raise whatever they lead it to
        raise WeightsError(
            f"{path}: cut off or no weight file ({one_line(error)}); copy or download it again"
        ) from None
    if not tensors:
        raise WeightsError(
            f"{path}: no tensors by name in it (it holds a {type(found).__name__}); save module.state_dict() and give that file"
        )
    return tensors


def _unpickle(path: Path, in_zip: bool) -> Any:
    if in_zip:
        check_zip(path)
    with _allowing_namespaces(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on protocols and storages: what cannot be read ends in an error
        # mapped, a tensor cannot reach beyond the file; and only what is taken is read
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=in_zip)


def _allowing_namespaces() -> contextlib.AbstractContextManager[Any]:
    """Has torch read ``argparse.Namespace``, a bag of plain values, as timm does."""
    if argparse.Namespace in torch.serialization.get_safe_globals():
        return contextlib.nullcontext()
    return torch.serialization.safe_globals([argparse.Namespace])


def _refused(path: Path, reason: str) -> WeightsError:
    """What is said of a pickle that torch does not read."""
    named = re.search(r"GLOBAL ([\w.]{1,80})|function <([^>]{1,80})|got <class '([\w.]{1,80})'>", reason)
    if named is None:
        return WeightsError(
            f"{path}: cut off or no weight file (not what torch.save writes); copy or download it again"
        )
    what = next(group for group in named.groups() if group)
    return WeightsError(
        f"{path}: holds more than plain tensors ({what}), and nothing in a file is executed; "
        "save module.state_dict() where it was made, and give that file"
    )


def flatten(value: Any) -> Iterator[tuple[str, Tensor]]:
    """The plain tensors in nested mappings and lists, by their keys joined with dots; each container is visited once."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        keys, one = waiting.pop()
        if isinstance(one, Tensor):
            if keys and _is_plain(one):
                yield ".".join(keys), one.detach()
        elif isinstance(one, CONTAINERS) and id(one) not in seen and len(keys) < DEPTH:
            seen.add(id(one))
            items = one.items() if isinstance(one, Mapping) else enumerate(one)
            inside = [((*keys, str(key)), inner) for key, inner in items if isinstance(inner, READ)]
            waiting += reversed(inside)


def _is_plain(value: Tensor) -> bool:
    strided = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    return strided and value.device.type == "cpu" and type(value) in (Tensor, torch.nn.Parameter)
