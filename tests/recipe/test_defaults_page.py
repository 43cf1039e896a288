"""The table of ``docs/recipe.md`` has every number of the recipes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from vertebra.recipe import defaults

PAGE = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text(encoding="utf-8")


def words(value: Any) -> str:
    """A number, a table or a mapping as the page has it."""
    if isinstance(value, dict):
        parts = {key: words(each) for key, each in value.items()}
        return ("; " if value is defaults.RECIPES else ", ").join(f"{key}: {text}" for key, text in parts.items())
    if isinstance(value, defaults.NamedRecipe):
        return ", ".join(map(words, value))
    if isinstance(value, tuple):
        return ", ".join(f"{'else' if math.isinf(limit) else f'below {limit}:'} {each}" for limit, each in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def test_every_number_is_there() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| .* \|$", PAGE, re.M))
    numbers = {name: words(value) for name, value in vars(defaults).items() if name.isupper()}
    assert rows == numbers
