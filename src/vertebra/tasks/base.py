"""The base class of all tasks' label specifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_type_hints

from vertebra.errors import ConfigError


@dataclass(frozen=True)
class LabelSpec:
    """The meaning of a branch's labels. Class ids are the indices in ``classes``, unchanged from data to export.

    Attributes:
        classes: the class names, in the data set's order; at least one, all different.
        needed: required fields besides ``classes``.
    """

    needed: ClassVar[tuple[str, ...]] = ()

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("a branch needs at least one class; 'classes' is empty")
        repeated = sorted(name for name, count in Counter(self.classes).items() if count > 1)
        if repeated:
            raise ConfigError(f"class names must differ, but these are repeated in 'classes': {', '.join(repeated)}")

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """Further fields of the labels: taken from a branch's config, or else from the data."""
        return tuple(field.name for field in fields(cls) if field.name not in ("classes", "multilabel", "ignore_index"))

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """The types that the fields may have in a config."""
        return get_type_hints(cls)

    @classmethod
    def implied(cls, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults of fields that can be derived from the branch's other fields."""
        return {}

    def on_boxes_of(self, source: LabelSpec, branch: str) -> LabelSpec:
        """The labels of a branch of this name that reads the boxes of another branch with labels ``source``."""
        return self

    @property
    def mirror_refusal(self) -> str | None:
        """Why images with such labels must not be mirrored, and how to allow it; None where mirroring is safe."""
        return None

    @property
    def object_parts(self) -> tuple[str, ...]:
        """Names of the parts of an object, matched by name as classes are; empty for a task without parts."""
        return ()

    @property
    def background_classes(self) -> tuple[str, ...]:
        """Background classes: black in mask files, and left out of COCO results."""
        return ()

    def fields_for(self, branch_fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that a branch takes from the labels of its data.

        Args:
            branch_fields: the branch's own fields by name; they are kept.
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
