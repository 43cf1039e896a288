"""Changes of a data set's classes before a task reads them: merged, renamed, dropped, and ignored classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vertebra.annotations.table import IGNORED, NO_CLASS, Annotations, Category, MaskFiles, Objects
from vertebra.errors import DataError, suggest


@dataclass(frozen=True)
class ClassEdits:
    """Changes of classes, all by their names in the files.

    Attributes:
        merge: for each new name, the names that become it.
        drop: classes whose annotations are left out, so that their pixels and objects count as background.
        ignore: classes that count neither as an object nor as background: objects become crowd of every class, pixels are
            ignored, and images of such a class are not labeled.
    """

    merge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.merge or self.drop or self.ignore)

    def apply(self, annotations: Annotations) -> Annotations:
        """The annotations with the changed classes; merged classes keep the position of the first one.

        Raises:
            DataError: a name is none of the data set's classes, or is in two lists.
        """
        self._check(annotations)
        new_name = {old: new for new, names in self.merge.items() for old in names}
        numbers: dict[str, int] = {}
        categories: list[Category] = []
        to_new = np.full(len(annotations.categories) + 1, -1, dtype=np.int64)
        for position, category in enumerate(annotations.categories):
            name = new_name.get(category.name, category.name)
            if category.name in (*self.drop, *self.ignore):
                continue
            if name not in numbers:
                numbers[name] = len(categories)
                categories.append(replace(category, name=name, id=category.id if name == category.name else None))
            to_new[position] = numbers[name]
        ignored = np.array([category.name in self.ignore for category in annotations.categories], dtype=bool)
        labels = np.stack([annotations.labels[:, 0], to_new[annotations.labels[:, 1]]], axis=1)
        annotated = annotations.annotated.copy()
        annotated[annotations.labels[ignored[annotations.labels[:, 1]], 0]] = False
        return replace(
            annotations,
            categories=tuple(categories),
            objects=_objects(annotations.objects, to_new, ignored, len(categories)),
            labels=np.unique(labels[labels[:, 1] >= 0], axis=0),
            masks=None if annotations.masks is None else _masks(annotations.masks, to_new, ignored),
            annotated=annotated,
            scope=None if annotations.scope is None else annotations.scope.renumbered(to_new[:-1], len(categories)),
        )

    def _check(self, annotations: Annotations) -> None:
        names = annotations.category_names
        edited = [*(name for merged in self.merge.values() for name in merged), *self.drop, *self.ignore]
        unknown = [name for name in edited if name not in names]
        if unknown:
            raise DataError(f"{annotations.where}: it has no class '{unknown[0]}'. {suggest(unknown[0], names)}")
        twice = [name for name in edited if edited.count(name) > 1]
        if twice:
            raise DataError(
                f"{annotations.where}: class '{twice[0]}' is named twice in 'classes', 'drop_classes' and 'ignore_classes'"
            )


def _objects(objects: Objects, to_new: np.ndarray, ignored: np.ndarray, count: int) -> Objects:
    """The objects in new categories; ignored ones become crowd of each of the ``count`` categories."""
    if not len(objects):
        return objects
    crowd = ignored[objects.categories]
    copies = np.where(crowd, count, (to_new[objects.categories] >= 0).astype(np.int64))
    numbers = np.repeat(np.arange(len(objects)), copies)
    taken = objects.take(numbers)
    each = np.arange(len(numbers)) - np.repeat(np.cumsum(copies) - copies, copies)
    categories = np.where(crowd[numbers], each, to_new[taken.categories])
    return replace(taken, categories=categories, crowd=taken.crowd | crowd[numbers])


def _masks(masks: MaskFiles, to_new: np.ndarray, ignored: np.ndarray) -> MaskFiles:
    known = masks.categories >= 0
    numbers = masks.categories[known]
    table = masks.categories.copy()
    table[known] = np.where(ignored[numbers], IGNORED, np.where(to_new[numbers] >= 0, to_new[numbers], NO_CLASS))
    return replace(masks, categories=table)


def class_edits(
    merge: Mapping[str, Sequence[str] | str] | None, drop: Sequence[str] = (), ignore: Sequence[str] = ()
) -> ClassEdits:
    """Changes of classes as a config has them: a single name is a list of one."""
    merged = {new: (old,) if isinstance(old, str) else tuple(old) for new, old in (merge or {}).items()}
    return ClassEdits(merged, tuple(drop), tuple(ignore))
