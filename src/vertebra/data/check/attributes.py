"""Attributes of objects: how often each value occurs, and values that are likely the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vertebra.annotations.attribute_values import differing_by_case, value_counts
from vertebra.annotations.table import Annotations
from vertebra.data.check.report import Finding

MAX_VALUES = 50  # of an attribute that a model could learn
CASE_CURE = "they are learned as different values; write each value in one way"


def attribute_counts(annotations: Annotations | None) -> dict[str, dict[str, int]]:
    """The objects with each value of each attribute, the most frequent value first, and under "" those without a value. Attributes
    with more than `MAX_VALUES` values, such as the number of a track, are left out."""
    if annotations is None or annotations.objects.attributes is None:
        return {}
    total, counts = len(annotations.objects), {}
    for name, values in value_counts(annotations.objects.attributes).items():
        if len(values) <= MAX_VALUES:
            missing = total - sum(values.values())
            counts[name] = {**dict(values.most_common()), **({"": missing} if missing > 0 else {})}
    return counts


def differing_values(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> Iterator[Finding]:
    """Values of an attribute, in any split, that differ only by case."""
    for name in dict.fromkeys(name for each in counts for name in each):
        groups = differing_by_case(dict.fromkeys(value for each in counts for value in each.get(name, ()) if value))
        if groups:
            which = f"of values of attribute '{name}' that differ by case only"
            yield Finding.of("attribute_case", "warning", "group", which, groups, CASE_CURE)
