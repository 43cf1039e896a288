"""The annotations of a sample of tar shards: JSON of its objects and labels, or a text with its class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.segmentations import Segmentation, parse_segmentation
from vertebra.annotations.values import flag, whole_number
from vertebra.data.readers.tool_objects import Problems, coordinates, number, size_of, text
from vertebra.errors import DataError
from vertebra.shards.tar_files import ShardSample

LABELS = ("labels", "label", "class", "cls", "category")
OBJECTS = ("objects", "annotations")


class SampleReader:
    """Adds samples to a data set.

    Args:
        builder: of the data set, with the classes that are known.
        names: the names of classes by their numbers; None if no file has them.
        texts_are_classes: whether the ``.txt`` of samples are names of classes.
        problems: become notes.
    """

    def __init__(
        self, builder: AnnotationBuilder, names: Sequence[str] | None, texts_are_classes: bool, problems: Problems
    ) -> None:
        self.builder, self.names, self.problems = builder, names, problems
        self.known = frozenset(names or ())
        self.texts_are_classes = texts_are_classes

    def add(self, sample: ShardSample, archive: str, split: int) -> int:
        """Adds a sample; the number of its group, or -1.

        Args:
            sample: to add.
            archive: of the sample, for messages.
            split: as `AnnotationBuilder.image` takes it.

        Raises:
            DataError: its class has a number beyond the list of names.
        """
        name = f"{archive}/{sample.image}"
        document = sample.document if isinstance(sample.document, Mapping) else {}
        if sample.document is not None and not isinstance(sample.document, Mapping):
            self.problems.drop("that is no JSON object", f"{archive}/{sample.key}.json")
        annotated = document.get("annotated") is not False and (
            bool(document) or sample.label is not None or bool(sample.mask) or (sample.text is not None)
        )
        key = document.get("id")
        row = self.builder.image(
            name,
            size=size_of(document.get("height"), document.get("width")),
            id=key if isinstance(key, (int, str)) else None,
            split=split,
            annotated=annotated,
        )
        for label in self._labels(document, sample, name):
            self.builder.label(row, label)
        for entry in next((document[key] for key in OBJECTS if isinstance(document.get(key), list)), ()):
            self._object(row, entry, name)
        group = whole_number(document.get("group"))
        return -1 if group is None or not 0 <= group < 2**40 else group

    def _labels(self, document: Mapping[str, Any], sample: ShardSample, name: str) -> list[str]:
        given = next((document[key] for key in LABELS if key in document), None)
        values = given if isinstance(given, list) else [] if given is None else [given]
        if sample.label is not None:
            values = [*values, sample.label.strip()]
        elif sample.text is not None and not values and not document:
            if self.texts_are_classes:
                values = [sample.text.strip()]
            else:
                self.problems.add("text", "that is no name of a class", "left out", f"{name.rpartition('.')[0]}.txt")
        labels = [self._class(value, name) for value in values]
        for label in labels:
            if not label:
                self.problems.drop("without a name of a class", name)
        return [label for label in labels if label]

    def _class(self, value: Any, name: str) -> str:
        """The class of a name or number; "" if it is neither."""
        word = text(value)
        if word in self.known or self.names is None:
            return word
        index = whole_number(value)
        if index is None:
            return word
        if not 0 <= index < len(self.names):
            raise DataError(
                f"{self.builder.where}: {name} has the class {index}, and {len(self.names)} are named, from 0; add the name"
            )
        return self.names[index]

    def _object(self, row: int, entry: Any, name: str) -> None:
        if not isinstance(entry, Mapping):
            self.problems.drop("that is no JSON object", name)
            return
        value = next(
            (entry[key] for key in ("class", "category", "category_name", "category_id") if key in entry), None
        )
        label = self._class(value, name)
        if not label:
            self.problems.drop("without a class", name)
            return
        box, shape, points = self._box(entry, name), self._shape(entry, name), self._points(entry, name)
        if (
            box is None
            and shape is None
            and points is None
            and any(k in entry for k in ("box", "bbox", "segmentation"))
        ):
            return  # what is wrong with it is counted
        crowd, area = flag(entry.get("crowd", entry.get("iscrowd"))), number(entry.get("area"))
        if crowd is None:
            self.problems.add("object", "whose 'crowd' is neither 0 nor 1", "taken as 0", name)
        attributes, key = entry.get("attributes"), entry.get("id")
        self.builder.object(
            row,
            label,
            box=box,
            shape=shape,
            points=points,
            crowd=bool(crowd),
            area=None if math.isnan(area) else area,
            id=key if isinstance(key, (int, str)) else None,
            attributes=attributes if isinstance(attributes, Mapping) else None,
        )

    def _box(self, entry: Mapping[str, Any], name: str) -> Sequence[float] | None:
        """``box``, left, top, right, bottom, or COCO's ``bbox``, left, top, width, height."""
        key = "box" if "box" in entry else "bbox"
        if entry.get(key) is None or entry[key] == []:
            return None
        numbers = coordinates(entry[key], 4)
        if numbers is None:
            self.problems.drop(f"whose '{key}' is not four finite numbers", name)
            return None
        values: list[float] = numbers.tolist()
        return values if key == "box" else [values[0], values[1], values[0] + values[2], values[1] + values[3]]

    def _shape(self, entry: Mapping[str, Any], name: str) -> Segmentation | None:
        if not entry.get("segmentation"):
            return None
        try:
            shape = parse_segmentation(entry["segmentation"])
        except (ValueError, TypeError, UnicodeError, OverflowError):
            self.problems.drop("whose 'segmentation' is neither outlines nor run lengths", name)
            return None
        return shape if shape.outlines or len(shape.runs) or len(shape.text) else None

    def _points(self, entry: Mapping[str, Any], name: str) -> np.ndarray | None:
        """``points`` as lists of x, y and visibility, or COCO's ``keypoints``, all in one list."""
        given = entry.get("points", entry.get("keypoints"))
        if not given:
            return None
        numbers = coordinates(given)
        if numbers is None or len(numbers) % 3:
            self.problems.drop("whose points are not x, y and visibility of each", name)
            return None
        return numbers.reshape(-1, 3)
