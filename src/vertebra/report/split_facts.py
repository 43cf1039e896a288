"""How the data of a run were split: images, classes and notes of each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vertebra.data.open_datasets import Opened
from vertebra.tasks import get_task


@dataclass(frozen=True)
class SplitFacts:
    """One split.

    Attributes:
        name: "train", "val" or "test".
        images: number of its images.
        paths: of its data sets.
        class_images: for each branch, the number of images with each class; a branch whose classes are known only from pixels is
            left out.
        notes: of reading it.
        problem: why it could not be opened; empty otherwise.
    """

    name: str
    images: int = 0
    paths: Sequence[str] = ()
    class_images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problem: str = ""


def split_facts(name: str, opened: Opened) -> SplitFacts:
    """The facts about an opened split."""
    counts: dict[str, dict[str, int]] = {}
    for source in opened.sources:
        for branch, task in source.branches.items():
            labels = source.index.labels[task]
            presence = get_task(task).data.class_presence(source.index.columns[task], labels.class_count)
            if presence is None:
                continue
            totals = counts.setdefault(branch, {})
            for class_name, count in zip(labels.classes, presence.sum(axis=0).tolist(), strict=False):
                totals[class_name] = totals.get(class_name, 0) + int(count)
    paths = list(dict.fromkeys(str(source.index.root) for source in opened.sources))
    images = sum(len(source.index) for source in opened.sources)
    return SplitFacts(name, images, paths, counts, tuple(opened.notes))
