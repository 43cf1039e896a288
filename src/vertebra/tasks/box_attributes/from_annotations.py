"""The values of an attribute of objects from the annotations of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.attribute_values import Values, case_note, described, object_values, value_counts
from vertebra.annotations.boxes import check_pixels
from vertebra.annotations.class_ids import object_boxes
from vertebra.annotations.class_names import left_out, shorten, sorted_names, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.errors import DataError, suggest
from vertebra.tasks.box_attributes.column import AttributeColumn
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.from_annotations import usable_boxes
from vertebra.tasks.detect.octagons import diagonals_of

NONE: Mapping[str, Any] = {}


def read_attribute(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[AttributeColumn, AttributeLabels]:
    """The boxes of all images with the values of ``options.attribute``. Objects without a value are not labeled for it.

    The classes are the values as texts (`vertebra.annotations.attribute_values.value_text`), by number where all are whole numbers,
    else by the alphabet.

    Raises:
        DataError: no attribute is named, no object has a value, or an object has several where values exclude each other.
    """
    objects = annotations.objects
    entries = objects.attributes or (NONE,) * len(objects)
    if not options.attribute:
        raise DataError(
            f"{annotations.where}: name the attribute of its objects; they have: {described(value_counts(entries))}"
        )
    problems: list[Note] = []
    boxes = object_boxes(annotations, "object", problems)
    check_pixels(boxes, "box", annotations.where)
    whole = boxes
    kept, boxes = usable_boxes(annotations, boxes, np.ones(len(objects), dtype=bool), problems)
    values = [object_values(entries[number], options.attribute, options.multilabel) for number in kept.tolist()]
    labels = _labels(annotations, values, options)
    column = AttributeColumn(
        boxes=BoxColumn.of(
            objects.rows[kept],
            boxes[kept],
            np.arange(len(kept)),
            objects.crowd[kept],
            annotations.annotated,
            AnnotatedSizes.of(annotations),
            None if not options.outlines or objects.shapes is None else diagonals_of(objects.shapes, whole)[kept],
        ),
        classes=objects.categories[kept],
        values=_ids(annotations, kept, values, labels, problems),
    )
    notes += problems
    used = column.values if labels.multilabel else column.values[:, None] == np.arange(labels.class_count)
    notes += without_images(labels.classes, (used > 0).sum(axis=0))
    return column, labels


def _labels(annotations: Annotations, values: Sequence[Values], options: ReadOptions) -> AttributeLabels:
    """The labels: the listed values, or those that occur."""
    occurring = dict.fromkeys(value for each in values if each is not None for value in each)
    name = options.attribute
    if not occurring:
        counts = value_counts(annotations.objects.attributes or ())
        raise DataError(
            f"{annotations.where}: no object has a value of the attribute '{name}'; its objects have: {described(counts)}. "
            f"{suggest(name, list(counts))}".rstrip()
        )
    classes = options.classes or tuple(sorted_names(occurring))
    if not set(classes) & set(occurring):
        raise DataError(
            f"{annotations.where}: none of the values of '{name}' ({shorten(list(occurring))}) is among those asked for "
            f"({shorten(classes)}). {suggest(classes[0], list(occurring))}"
        )
    return AttributeLabels(classes, options.multilabel, name, annotations.category_names)


def _ids(
    annotations: Annotations, kept: np.ndarray, values: Sequence[Values], labels: AttributeLabels, notes: list[Note]
) -> np.ndarray:
    """The values of the kept objects as ids, see `AttributeColumn`."""
    name, ids = labels.attribute, {value: number for number, value in enumerate(labels.classes)}
    names = annotations.names(annotations.objects.rows[kept])
    several = [row for row, each in enumerate(values) if each is not None and len(each) > 1]
    if several and not labels.multilabel:
        first = several[0]
        raise DataError(
            f"{annotations.where}: {len(several)} objects have several values of '{name}', the first in {names[first]} "
            f"({', '.join(values[first] or ())}); set multilabel: true on the branch, as by "
            "model.branches.NAME.multilabel=true"
        )
    missing = [names[row] for row, each in enumerate(values) if each is None]
    if missing:
        notes.append(Note.of("object", f"without a value of '{name}'", "not labeled for it", missing))
    counts: dict[str, int] = {}
    for each in values:
        for value in each or ():
            counts[value] = counts.get(value, 0) + 1
    notes += case_note(name, list(counts))
    notes += left_out({value: count for value, count in counts.items() if value not in ids}, f"value of '{name}'")
    if not labels.multilabel:
        return np.array([-1 if not each else ids.get(each[0], -1) for each in values], dtype=np.int64)
    table = np.full((len(values), labels.class_count), -1, dtype=np.int8)
    for row, each in enumerate(values):
        if each is not None:
            table[row] = 0
            table[row, [ids[value] for value in each if value in ids]] = 1
    return table
