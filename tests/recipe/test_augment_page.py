"""The table of ``docs/augmentation.md`` has every option, with the values of the presets."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from vertebra.recipe.augment import PRESETS, Augment

PAGE = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")


def words(value: Any) -> str:
    return ", ".join(map(words, value)) if isinstance(value, tuple) else f"{value:.3g}"


def test_every_option_is_there_with_its_presets() -> None:
    rows = {name: cells.split(" | ") for name, cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.M)}
    assert list(rows) == [field.name for field in fields(Augment)]
    assert re.search(r"^\| option \| (.*) \| unit and meaning", PAGE, re.M)[1].split(" | ") == list(PRESETS)  # type: ignore[index]
    for name, cells in rows.items():
        assert cells[:4] == [words(getattr(preset, name)) for preset in PRESETS.values()], name
