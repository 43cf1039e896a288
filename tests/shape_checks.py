"""Checks the shapes in annotations (``Float[Tensor, "n 4"]``) while the tests run: what the functions of these packages are
given and return is compared with their annotations. The library itself never checks them, so they cost it nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jaxtyping
import torch
from beartype import BeartypeConf, beartype
from torch.fx._symbolic_trace import is_fx_tracing

PACKAGES = (
    "vertebra.features",
    "vertebra.decoders.base",
    "vertebra.geometry",
    "vertebra.losses",
    "vertebra.matching",
)

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it
_jaxtyped: Callable[..., Any] = jaxtyping.jaxtyped


def install() -> None:
    """Call it before the packages are imported."""
    jaxtyping.jaxtyped = jaxtyped  # what the import hook decorates with
    jaxtyping.install_import_hook(PACKAGES, "tests.shape_checks.check")


def jaxtyped(fn: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """As `jaxtyping.jaxtyped`, but without checks while a graph is recorded: they would be recorded, too, and fix its sizes."""
    if fn is None:
        return partial(jaxtyped, typechecker=typechecker)
    if inspect.isclass(fn):
        plain = fn.__init__
        _jaxtyped(fn, typechecker=typechecker)
        if fn.__init__ is not plain:  # a dataclass
            fn.__init__ = _unless_recorded(plain, fn.__init__)
        return fn
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(jaxtyped(fn.__func__, typechecker=typechecker))
    if isinstance(fn, property):
        return property(jaxtyped(fn.fget, typechecker=typechecker))
    return _unless_recorded(fn, _jaxtyped(fn, typechecker=typechecker))


def _unless_recorded(plain: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or is_fx_tracing():
            return plain(*args, **kwargs)
        return checked(*args, **kwargs)

    return call
