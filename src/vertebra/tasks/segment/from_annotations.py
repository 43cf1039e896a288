"""Masks from the annotations of a data set: its mask files, or else the outlines and run lengths of its objects."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import check_pixels
from vertebra.annotations.class_ids import listed_ids, listed_scope
from vertebra.annotations.class_names import bincount, class_ids, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import IGNORED, NO_CLASS, Annotations, MaskFiles
from vertebra.annotations.values import check_usable
from vertebra.errors import DataError
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.mask_column import MaskFileColumn
from vertebra.tasks.segment.outline_column import PolygonRLEColumn
from vertebra.tasks.segment.segment_id_column import SegmentIdColumn
from vertebra.tasks.segment.segment_id_files import SegmentIdFiles

BACKGROUND = "background"


def read_masks(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[MaskFileColumn | SegmentIdColumn | PolygonRLEColumn, SegmentLabels]:
    """The masks of all images.

    Raises:
        DataError: classes are exclusive, and none is for the pixels that no object covers.
    """
    if annotations.masks is not None and annotations.has_segment_ids:
        return _from_segment_ids(annotations, annotations.masks, options, notes)
    if annotations.masks is not None:
        return _from_files(annotations, annotations.masks, options, notes)
    return _from_shapes(annotations, options, notes)


def _from_segment_ids(
    annotations: Annotations, masks: MaskFiles, options: ReadOptions, notes: list[Note]
) -> tuple[SegmentIdColumn, SegmentLabels]:
    objects = annotations.objects
    labels = SegmentLabels(_listed(options) or annotations.category_names, options.multilabel, masks.ignore_index)
    classes = listed_ids(annotations, objects.categories, labels.classes, "segment", notes)
    classes = np.where(classes < 0, NO_CLASS if options.multilabel else masks.ignore_index, classes)
    source, order = SegmentIdFiles.of(annotations)
    column = SegmentIdColumn(source, classes[order], labels.class_count, options.multilabel, masks.ignore_index)
    known = classes[(classes >= 0) & (classes != masks.ignore_index)]
    notes += without_images(labels.classes, bincount(known, labels.class_count))
    return column, labels


def _from_files(
    annotations: Annotations, masks: MaskFiles, options: ReadOptions, notes: list[Note]
) -> tuple[MaskFileColumn, SegmentLabels]:
    names = annotations.category_names
    labels = SegmentLabels(_listed(options) or names, options.multilabel, masks.ignore_index)
    to_id = class_ids(names, labels.classes, annotations.where)
    ids = masks.categories.copy()
    known = ids >= 0
    left_out = masks.ignore_index if not options.multilabel else NO_CLASS
    ids[known] = np.where(to_id[ids[known]] >= 0, to_id[ids[known]], left_out)
    ids[masks.categories == IGNORED] = masks.ignore_index
    if not options.multilabel:
        # each pixel needs a class; without some of them, it is none of the annotated ones
        ids[masks.categories == NO_CLASS] = masks.ignore_index if annotations.scope is None else labels.unannotated
    column = MaskFileColumn(
        masks.root,
        masks.files,
        ids,
        labels.class_count,
        options.multilabel,
        masks.ignore_index,
        masks.codes,
        masks.turns,
        listed_scope(annotations, labels.classes),
    )
    return column, labels


def _listed(options: ReadOptions) -> tuple[str, ...]:
    """The listed classes; those that may overlap have no background."""
    listed = options.classes or ()
    return listed[1:] if options.multilabel and len(listed) > 1 and listed[0] == BACKGROUND else listed


def _from_shapes(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[PolygonRLEColumn, SegmentLabels]:
    names = annotations.category_names
    background = () if options.multilabel else (BACKGROUND,)
    classes = options.classes or (*background, *(name for name in names if name not in background))
    if not options.multilabel and BACKGROUND not in classes:
        raise DataError(
            f"{annotations.where}: exclusive classes need one for what no object covers; put '{BACKGROUND}' first among "
            "the classes, or set multilabel: true"
        )
    labels = SegmentLabels(classes, options.multilabel, 255 if len(classes) <= 255 else 65535)
    objects = annotations.objects
    ids = listed_ids(annotations, objects.categories, classes, "object", notes)
    bare = (ids >= 0) & ~objects.has_shape
    if objects.shapes is not None:
        notes += objects.shapes.notes
        check_pixels(objects.shapes.points, "outline", annotations.where)
    if bare.any():
        names_of_bare = annotations.names(objects.rows[bare])
        notes.append(Note.of("annotation", "without a segmentation", "left out of the masks", names_of_bare))
    enclosing = objects.has_shape if objects.shapes is None else objects.shapes.enclosing
    flat = (ids >= 0) & objects.has_shape & ~enclosing
    if flat.any():
        names_of_flat = annotations.names(objects.rows[flat])
        notes.append(Note.of("object", "whose outline encloses nothing", "dropped", names_of_flat))
    drawn = np.flatnonzero((ids >= 0) & enclosing)
    total = annotations.dropped + int((ids >= 0).sum())
    check_usable(total, total - len(drawn), 0, annotations.where, [*annotations.notes, *notes])
    no_class = classes.index(BACKGROUND) if not options.multilabel else 0
    shapes = objects.shapes or Shapes.joined([])
    column = PolygonRLEColumn.of(
        objects.rows[drawn],
        ids[drawn],
        annotations.annotated,
        shapes.take(drawn).compact(),
        len(classes),
        multilabel=options.multilabel,
        ignore_index=labels.ignore_index,
        background=no_class,
        annotated=AnnotatedSizes.of(annotations),
        scope=listed_scope(annotations, classes),
    )
    used = bincount(ids[drawn], len(classes))
    used[no_class] += int(not options.multilabel)
    notes += without_images(classes, used)
    return column, labels
