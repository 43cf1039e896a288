"""Values of attributes as texts, from what annotation files hold."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vertebra.annotations.class_names import shorten
from vertebra.annotations.notes import Note

NOT_GIVEN = frozenset({"", "unspecified"})  # in any case; VOC writes "Unspecified" for a pose that nobody labeled
SEPARATORS = re.compile(r"[;|,]")

Values = tuple[str, ...] | None
"""The values of one object; None where it has none."""


def value_text(value: Any) -> str:
    """One value as text: booleans as "true" and "false", whole numbers without a decimal point, text without spaces around it;
    "" where there is none, as for None, nan, an empty text and VOC's "Unspecified"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    text = str(value).strip()
    return "" if text.lower() in NOT_GIVEN else text


def object_values(attributes: Mapping[str, Any], name: str, multilabel: bool) -> Values:
    """The values of an attribute of one object, each once; None where it has none.

    Args:
        attributes: of the object, by name.
        name: of the attribute.
        multilabel: whether a text may name several values, divided by ";", "|" or ","; an empty list then means that the object
            has none of the values.
    """
    value = attributes.get(name)
    if isinstance(value, (list, tuple)):
        texts = [text for text in map(value_text, value) if text]
        return tuple(dict.fromkeys(texts)) if texts or (multilabel and not value) else None
    text = value_text(value)
    if not text:
        return None
    if not multilabel:
        return (text,)
    return tuple(dict.fromkeys(part.strip() for part in SEPARATORS.split(text) if part.strip()))


def value_counts(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """How many objects have each value of each attribute."""
    counts: dict[str, Counter[str]] = {}
    for entries in attributes:
        for name in entries:
            values = object_values(entries, name, multilabel=False)
            if values is not None:
                counts.setdefault(str(name), Counter()).update(values)
    return counts


def differing_by_case(values: Iterable[str]) -> list[str]:
    """Values that are the same but for capital letters, as "Red/red"."""
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(value.casefold(), []).append(value)
    return ["/".join(sorted(group)) for group in groups.values() if len(group) > 1]


def case_note(name: str, values: Sequence[str]) -> list[Note]:
    """A note about values that differ by case; none if there are none."""
    groups = differing_by_case(values)
    return (
        [Note.of("group", f"of values of '{name}' that differ by case only", "kept as several", groups)]
        if groups
        else []
    )


def described(counts: Mapping[str, Counter[str]]) -> str:
    """The attributes that some objects have, each with its number of objects, for messages."""
    listed = [f"{name} ({sum(values.values())} values)" for name, values in counts.items()]
    return shorten(listed, 12) or "none"
