"""Checks the shapes in annotations (``Float[Tensor, "n 4"]``) while the tests run: what the annotations of these packages say is
compared with what their functions are given and return. The library itself never checks them, so they cost it nothing."""

from __future__ import annotations

import jaxtyping
import torch
from beartype import BeartypeConf, beartype

PACKAGES = (
    "vertebra.features",
    "vertebra.decoders.base",
    "vertebra.geometry",
    "vertebra.losses",
    "vertebra.matching",
)

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it


class _Config(type(jaxtyping.config)):  # type: ignore[misc]
    """No checks while a graph is recorded: there they would be recorded, too, and fix its sizes."""

    @property
    def jaxtyping_disable(self) -> bool:
        return torch.compiler.is_compiling() or torch.fx._symbolic_trace.is_fx_tracing()


def install() -> None:
    """Call it before the packages are imported."""
    jaxtyping.config.__class__ = _Config
    jaxtyping.install_import_hook(PACKAGES, "tests.shape_checks.check")
