"""Classes of images from the annotations of a data set."""

from __future__ import annotations

from vertebra.annotations.class_ids import listed_ids, listed_scope
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.tasks.classify.column import ClassColumn, classes_of_images
from vertebra.tasks.classify.labels import ClassifyLabels


def read_classes(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[ClassColumn, ClassifyLabels]:
    """The classes of whole images, or else those of the objects in them.

    Raises:
        DataError: classes are exclusive, but an image has several.
    """
    labels = ClassifyLabels(options.classes or annotations.category_names, options.multilabel)
    rows, categories, noun = annotations.labels[:, 0], annotations.labels[:, 1], "label"
    if not len(rows):
        rows, categories, noun = annotations.objects.rows, annotations.objects.categories, "object"
    ids = listed_ids(annotations, categories, labels.classes, noun, notes)
    listed = ids >= 0
    column = classes_of_images(
        rows[listed],
        ids[listed],
        annotations.annotated,
        labels,
        annotations.name,
        annotations.where,
        listed_scope(annotations, labels.classes),
    )
    notes += without_images(labels.classes, bincount(ids[listed], labels.class_count))
    return column, labels
