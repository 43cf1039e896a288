"""The levels of a neck or encoder that later parts read, from a first build on the meta device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import nn

from vertebra.features import FeatureSpec
from vertebra.model import Branch


def takes_levels(part: Callable[..., Any]) -> bool:
    """Whether a part's class, or a callable that builds one, has the argument ``keep_levels``."""
    try:
        return "keep_levels" in inspect.signature(part).parameters
    except (TypeError, ValueError):  # a callable without a signature, such as a builtin
        return False


def required_levels(shared: Mapping[str, nn.Module], branches: Mapping[str, Branch]) -> dict[str, list[int]]:
    """The levels of each neck and encoder that later parts read, by path, without parts of which all levels may be read.

    Args:
        shared: the shared parts by kind, "neck" and "encoder".
        branches: by name.
    """
    required: dict[str, list[int]] = {}
    for name, branch in branches.items():
        levels = branch.decoder.in_levels
        if levels is None or not branch.decoder.uses_maps:
            continue
        if branch.encoder is not None:
            required[f"branches.{name}.encoder"] = sorted(levels)
        through = None if branch.neck is None else _through_encoder(branch.neck, branch.encoder, levels)
        if through is not None:
            required[f"branches.{name}.neck"] = through
    read = _read_by_all(list(branches.values()))
    if read and "encoder" in shared:
        required["shared.encoder"] = sorted(read)
    if read and "neck" in shared:
        through = _through_encoder(shared["neck"], shared.get("encoder"), read)
        required |= {} if through is None else {"shared.neck": through}
    return required


def _through_encoder(neck: nn.Module, encoder: nn.Module | None, levels: Collection[int]) -> list[int] | None:
    """The levels of a neck that an encoder, if there is one, and a decoder read; None if the encoder has no ``in_levels``."""
    if encoder is None:
        return sorted(levels)
    spec: FeatureSpec = neck.out_spec  # type: ignore[assignment]
    worked_on: Collection[int] | None = getattr(encoder, "in_levels", None)
    if worked_on is None:
        return None
    # an encoder changes its input levels and passes the other levels through at their index
    return sorted({level for level in levels if level < len(spec.levels)} | set(worked_on))


def _read_by_all(branches: Sequence[Branch]) -> set[int]:
    """The shared levels that any of the branches reads; empty if that is unknown for one of them."""
    levels: set[int] = set()
    for branch in branches:
        if branch.neck is not None or branch.encoder is not None or branch.decoder.in_levels is None:
            return set()
        levels |= set(branch.decoder.in_levels) if branch.decoder.uses_maps else set()
    return levels
