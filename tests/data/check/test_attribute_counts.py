"""Counts of the values of attributes of objects, and values that are likely the same."""

from __future__ import annotations

from pathlib import Path

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.data.check.attributes import MAX_VALUES, attribute_counts, differing_values
from vertebra.data.check.report import SplitReport, _split_lines


def test_values_are_counted_and_case_is_named() -> None:
    builder = AnnotationBuilder(Path("set"), Path("set"))
    row = builder.image("a.png")
    for number in range(MAX_VALUES + 1):
        color = {"color": ("red", "Red", "blue")[number]} if number < 3 else {}
        builder.object(row, "car", box=(0, 0, 9, 9), attributes={"track_id": number, **color})
    counts = attribute_counts(builder.build())
    assert counts == {"color": {"red": 1, "Red": 1, "blue": 1, "": MAX_VALUES - 2}}, "a track is no attribute to learn"
    (finding,) = differing_values([counts, {}])
    assert (finding.kind, finding.severity, finding.files) == ("attribute_case", "warning", ("Red/red",))
    lines = _split_lines("train", SplitReport(1, {"detect": {"car": 51}}, attributes=counts))
    assert lines[1] == f"  attribute color: red 1, Red 1, blue 1, without a value {MAX_VALUES - 2}"
    assert attribute_counts(None) == {}
