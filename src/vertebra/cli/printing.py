"""Prints results as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from vertebra.strict_json import to_json


def print_json(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> None:
    """Prints a value on standard output. Non-finite numbers are null; they are counted and named on standard error."""
    text, lost = to_json(value, indent=indent, default=default)
    typer.echo(text)
    if lost:
        names = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        subject = "1 number is" if len(lost) == 1 else f"{len(lost)} numbers are"
        print(f"{subject} not finite and printed as null: {names}", file=sys.stderr)
