"""Tensors that share their memory (tied weights): a model file has them once, under their first name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def untied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors; tied ones only once, under their first name."""
    return {name: value.detach().cpu().contiguous() for name, value in first_names(state)}


def first_names(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors with their names; tied ones only once, under their first name."""
    seen: set[tuple[Any, ...]] = set()
    for name, value in state.items():
        key = _storage_key(value)
        if value.numel() and key in seen:
            continue
        seen.add(key)
        yield name, value


def stored_names(state: Mapping[str, Tensor], stored: set[str]) -> dict[str, str]:
    """The stored name of each tensor: the same, or the first name of a tied one."""
    first_tied = {_storage_key(value): name for name, value in reversed(list(state.items()))}
    return {name: name if name in stored else first_tied[_storage_key(value)] for name, value in state.items()}


def _storage_key(value: Tensor) -> tuple[Any, ...]:
    """Equal for tied tensors."""
    return (value.device, value.data_ptr(), value.shape, value.dtype) if value.numel() else (id(value),)
