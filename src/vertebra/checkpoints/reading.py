"""Reads the tensors of a weight file of any trainer, without executing code from it."""

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
MAX_DEPTH = 8
CONTAINERS = (Mapping, list, tuple)
READ = (Tensor, *CONTAINERS)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file: safetensors, or what ``torch.save`` wrote (read with ``weights_only=True``).

    Nested mappings are flattened: their keys and the names in them are joined with dots ("state_dict.module.conv1.weight").
    The only other object that may occur is ``argparse.Namespace``, which timm's training checkpoints have.

    Raises:
        WeightsError: there is no such file, it is damaged, it holds more than plain values, or it has no tensors.
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
            content: Any = safetensors.torch.load_file(path)
        else:
            content = _unpickle(path, in_zip=start[:4] == ZIP)
        tensors = dict(flatten(content))
        check_claims(path, tensors)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from None
    except Exception as error:  # on invalid bytes the unpickler raises any kind of error
        raise WeightsError(
            f"{path}: truncated or not a weight file ({one_line(error)}); copy or download it again"
        ) from None
    if not tensors:
        raise WeightsError(
            f"{path}: no tensors by name in it (it holds a {type(content).__name__}); save module.state_dict() and give that file"
        )
    return tensors


def _unpickle(path: Path, in_zip: bool) -> Any:
    if in_zip:
        check_zip(path)
    with _allowing_namespaces(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about protocols and storages; unreadable files raise an error
        # memory-mapped: tensors cannot extend beyond the file, and only used ones are read
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=in_zip)


def _allowing_namespaces() -> contextlib.AbstractContextManager[Any]:
    """Allows torch to read ``argparse.Namespace``, which holds plain values, as timm does."""
    if argparse.Namespace in torch.serialization.get_safe_globals():
        return contextlib.nullcontext()
    return torch.serialization.safe_globals([argparse.Namespace])


def _refused(path: Path, reason: str) -> WeightsError:
    """The error for a pickle that torch refuses to read."""
    match = re.search(r"GLOBAL ([\w.]{1,80})|function <([^>]{1,80})|got <class '([\w.]{1,80})'>", reason)
    if match is None:
        return WeightsError(
            f"{path}: truncated or not a weight file (not what torch.save writes); copy or download it again"
        )
    name = next(group for group in match.groups() if group)
    return WeightsError(
        f"{path}: holds more than plain tensors ({name}), and nothing in a file is executed; "
        "save module.state_dict() where it was made, and give that file"
    )


def flatten(value: Any) -> Iterator[tuple[str, Tensor]]:
    """The plain tensors in nested mappings and lists, with their keys joined by dots; each container is visited once."""
    seen: set[int] = set()
    pending: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while pending:
        keys, item = pending.pop()
        if isinstance(item, Tensor):
            if keys and _is_plain(item):
                yield ".".join(keys), item.detach()
        elif isinstance(item, CONTAINERS) and id(item) not in seen and len(keys) < MAX_DEPTH:
            seen.add(id(item))
            items = item.items() if isinstance(item, Mapping) else enumerate(item)
            children = [((*keys, str(key)), child) for key, child in items if isinstance(child, READ)]
            pending += reversed(children)


def _is_plain(value: Tensor) -> bool:
    strided = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    return strided and value.device.type == "cpu" and type(value) in (Tensor, torch.nn.Parameter)
