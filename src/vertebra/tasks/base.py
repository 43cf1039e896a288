"""What every task's label specification has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from vertebra.errors import ConfigError


@dataclass(frozen=True)
class LabelSpec:
    """What a branch's labels mean. Class ids are the positions in ``classes``, from data to export; nothing shifts them.

    Attributes:
        classes: the class names, in the data set's own order; at least one, all different.
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("a branch needs at least one class; 'classes' is empty")
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise ConfigError(f"class names must differ, but these stand twice in 'classes': {', '.join(repeated)}")

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """What else belongs to the labels and may stand in a branch's config, or else comes from the data."""
        return tuple(field.name for field in fields(cls) if field.name not in ("classes", "exclusive", "ignore_index"))

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def index(self, names: Sequence[str]) -> list[int]:
        """Class ids of names (``KeyError`` for a name that is not a class)."""
        ids = {name: position for position, name in enumerate(self.classes)}
        return [ids[name] for name in names]
