"""The options shared by all readers."""

from __future__ import annotations

from dataclasses import dataclass, field

from vertebra.annotations.class_edits import ClassEdits


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a data set.

    Attributes:
        classes: class names in order; None for those of the data set. Annotations of other classes are left out.
        ignore_index: value of ignored pixels in mask files; None for 255, unless masks hold only 0 and 255.
        seed: of the random division of a data set without splits.
        multilabel: False: one class for each image or pixel; True: classes may overlap.
        edits: changes of the data set's classes, before they are matched with ``classes``.
        columns: pairs of what is read ("image", "label", "xmin" …) and the name of a table's column for it.
        annotated: the classes that are annotated, by their names after ``edits``; None for all.
        outlines: whether boxes are to know how far the outlines of their objects reach, for images that are rotated in training.
        attribute: the attribute of objects that is read, for a task of attributes.
    """

    classes: tuple[str, ...] | None = None
    ignore_index: int | None = None
    seed: int = 0
    multilabel: bool = False
    edits: ClassEdits = field(default_factory=ClassEdits)
    columns: tuple[tuple[str, str], ...] = ()
    annotated: tuple[str, ...] | None = None
    outlines: bool = False
    attribute: str = ""
