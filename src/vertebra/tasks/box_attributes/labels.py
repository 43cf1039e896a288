"""Labels of an attribute of objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class AttributeLabels(LabelSpec):
    """The values of one attribute of objects; a class is a value.

    Attributes:
        multilabel: whether an object may have several values (a sigmoid for each) or has one (softmax).
        attribute: its name in the data; in a config by default the branch's name.
        box_classes: the classes of the objects, those of the branch whose boxes are read.
    """

    multilabel: bool = False
    attribute: str = ""
    box_classes: tuple[str, ...] = ()

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """``attribute``; the classes of the boxes are those of the branch that has them."""
        return ("attribute",)

    def on_boxes_of(self, source: LabelSpec, branch: str) -> AttributeLabels:
        """The same values, of the objects of another branch."""
        return replace(self, box_classes=source.classes, attribute=self.attribute or branch)

    def joint_classes(self) -> tuple[str, ...]:
        """All pairs of a class and a value, by class; the values alone where there is one class."""
        if len(self.box_classes) < 2:
            return self.classes
        return tuple(f"{name} {value}" for name in self.box_classes for value in self.classes)
