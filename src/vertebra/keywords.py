"""Checks of keyword arguments: unknown names, with the nearest right one as for options in YAML, and wrong values."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from vertebra.errors import ConfigError, UnknownName

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def keyword_names(function: Callable[..., Any]) -> list[str]:
    """Names of the keyword-only parameters of a function, or of a class's constructor."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def check_keywords(function: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Checks that a function has the options of a call.

    Args:
        function: its name, for the message.
        names: the options of the call.
        known: the options that the function has.

    Raises:
        UnknownName: it has no such option; the message has the nearest right name.
    """
    options = list(known)
    for name in names:
        if name not in options:
            raise UnknownName(f"option of {function}():", name, options)


def check_count(name: str, value: Any) -> None:
    """Checks that an option is a whole number of 1 or more.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise ConfigError(f"'{name}' must be a whole number, 1 or more, got {value!r}")


def check_fraction(name: str, value: Any) -> None:
    """Checks that an option is a number within 0 and 1.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ConfigError(f"'{name}' must be within 0 and 1, got {value!r}")


def check_path(name: str, value: Any) -> Path:
    """A path from an argument.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.

    Raises:
        ConfigError: it is no path.
    """
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"'{name}' must be a path, a str or a pathlib.Path, got {_shown(value)}")
    return Path(value)


def _shown(value: Any) -> str:
    """A value in a message: numbers and the like as they are, of other objects the type."""
    return repr(value) if isinstance(value, bool | int | float | None) else type(value).__name__


def strict_keywords(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorates a function without ``**options``, or the ``__init__`` of a class: an unknown keyword raises `UnknownName` instead
    of a `TypeError`.
    """
    shown = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    parameters = inspect.signature(function).parameters.values()
    known = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name != "self"
    ]

    @wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        check_keywords(shown, kwargs, known)
        return function(*args, **kwargs)

    return checked
