"""The label specification that those of all tasks are based on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_type_hints

from vertebra.errors import ConfigError


@dataclass(frozen=True)
class LabelSpec:
    """The meaning of a branch's labels. Class ids are the positions in ``classes``, from data to export; nothing shifts them.

    Attributes:
        classes: the class names, in the data set's own order; at least one, all different.
        needed: own fields without which there are no labels.
    """

    needed: ClassVar[tuple[str, ...]] = ()

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("a branch needs at least one class; 'classes' is empty")
        repeated = sorted(name for name, count in Counter(self.classes).items() if count > 1)
        if repeated:
            raise ConfigError(f"class names must differ, but these are twice in 'classes': {', '.join(repeated)}")

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """Further fields of the labels: set in a branch's config, or else taken from the data."""
        return tuple(field.name for field in fields(cls) if field.name not in ("classes", "multilabel", "ignore_index"))

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """The types of the fields as a config may give them."""
        return get_type_hints(cls)

    @classmethod
    def implied(cls, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that follow from those that are given, where a user has left them out."""
        return {}

    @property
    def mirror_refusal(self) -> str | None:
        """Why images with such labels must not be mirrored, and the cure; None where they may."""
        return None

    @property
    def object_parts(self) -> tuple[str, ...]:
        """Names of the parts of an object, matched by name as classes are; empty for a task without parts."""
        return ()

    @property
    def background_classes(self) -> tuple[str, ...]:
        """Classes of what no object covers: black in mask files, and without objects in COCO results."""
        return ()

    def fields_for(self, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a branch on data with these labels takes from them.

        Args:
            branch_fields: the branch's fields by name, which stay as they are.
        """
        return {name: getattr(self, name) for name in self.own_fields() if name not in branch_fields}

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def index(self, names: Sequence[str]) -> list[int]:
        """Class ids of names (``KeyError`` for a name that is not a class)."""
        ids = {name: position for position, name in enumerate(self.classes)}
        return [ids[name] for name in names]
