"""Classes with few samples or similar names, gaps of their ids, and images without annotations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from vertebra.annotations.table import Annotations
from vertebra.data.analysis.class_names import similar_class_names
from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.check.report import Finding, shown
from vertebra.data.check.scanning import Scan, ScannedSplit
from vertebra.tasks import get_task

MIN_SAMPLES = 10
MAX_RATIO = 19  # of the most to the least frequent of exclusive classes: 95 to 5
BARE_SHARE = 0.5  # of images without objects
SIMILAR_CURE = "if they are one class, merge them: --fix OUT --merge-classes"
FEW_CURE = "a class is hardly learned from so few; add samples, merge it with another class, or leave it out"
IMBALANCE_CURE = (
    "judge by the accuracy of each class; add samples of the rare ones, or show them more often: balance: classes"
)
UNANNOTATED_CURE = "training does not use them; annotate them, or mark them as having no object in the labeling tool"


def class_counts(counts: Mapping[str, int], task: str, split: str) -> Iterator[Finding]:
    """Classes of the training split with few samples, and strong imbalance.

    Args:
        counts: the samples of each class.
    """
    few = [f"{name} {count}" for name, count in counts.items() if 0 < count < MIN_SAMPLES and name != "background"]
    if few:
        files = tuple(name.rpartition(" ")[0] for name in few)
        which = f"with fewer than {MIN_SAMPLES} samples"
        yield Finding.of("few_samples", "warning", "class", which, few, FEW_CURE, files=files, split=split, task=task)
    present = {name: count for name, count in counts.items() if count}
    if len(present) < 2 or not get_task(task).image_level:
        return
    most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    if present[most] >= MAX_RATIO * present[least]:
        share = present[most] / sum(present.values())
        message = (
            f"class '{most}' has {present[most]} images, '{least}' {present[least]}: a model that always answers '{most}' is right "
            f"for {share:.0%} of them"
        )
        yield Finding("imbalance", "warning", message, present[least], (), IMBALANCE_CURE, split, task)


def similar_names(classes: tuple[str, ...], task: str) -> Iterator[Finding]:
    """Classes whose names are likely the same word."""
    groups = similar_class_names(classes)
    if groups:
        files = tuple(name for group in groups for name in group.names)
        texts = [str(group) for group in groups]
        which = "of class names that are likely one class"
        yield Finding.of("similar_names", "warning", "group", which, texts, SIMILAR_CURE, files=files, task=task)


def missing_classes(classes: Mapping[str, Mapping[str, int]], task: str) -> Iterator[Finding]:
    """Classes that one of train and val has, and the other has not.

    Args:
        classes: by split and class, the samples.
    """
    train, val = classes.get("train"), classes.get("val")
    if train is None or val is None or not any(train.values()) or not any(val.values()):
        return
    unseen = [name for name, count in train.items() if count and not val.get(name)]
    if unseen:
        cure = "the metrics do not cover them; draw another split: vertebra data split"
        which = "of train that val lacks"
        yield Finding.of("not_in_val", "warning", "class", which, unseen, cure, split="val", task=task)
    unlearned = [name for name, count in val.items() if count and not train.get(name)]
    if unlearned:
        cure = "they cannot be learned; draw another split: vertebra data split"
        which = "of val that train lacks"
        yield Finding.of("not_in_train", "warning", "class", which, unlearned, cure, split="train", task=task)


def category_ids(annotations: Annotations) -> Iterator[Finding]:
    """Gaps between the ids of the categories in the files."""
    ids = sorted({category.id for category in annotations.categories if isinstance(category.id, int)})
    if len(ids) < 2 or ids[-1] - ids[0] == len(ids) - 1:
        return
    missing = np.setdiff1d(np.arange(ids[0], min(ids[-1], ids[0] + 100_000)), ids)
    message = (
        f"category ids go from {ids[0]} to {ids[-1]} with {ids[-1] - ids[0] + 1 - len(ids)} gaps "
        f"({shown([str(number) for number in missing[:4].tolist()])}); classes are numbered 0 to {len(ids) - 1} in their order"
    )
    yield Finding("category_gaps", "info", message, len(missing))


def unannotated(opened: OpenedSplit) -> Iterator[Finding]:
    """Images that nobody annotated, and images without objects."""
    annotations = opened.annotations
    if annotations is None:
        return
    bare = np.flatnonzero(~annotations.annotated)
    if len(bare):
        names = [opened.name_of(row) for row in bare.tolist()]
        yield Finding.of(
            "unannotated", "warning", "image", "that nobody annotated", names, UNANNOTATED_CURE, split=opened.name
        )
    if not annotations.kinds & {"boxes", "outlines", "points"} or annotations.masks is not None:
        return
    filled = np.zeros(len(annotations), dtype=bool)
    filled[annotations.objects.rows] = True
    filled[annotations.labels[:, 0]] = True
    empty = np.flatnonzero(annotations.annotated & ~filled)
    if len(empty):
        names = [opened.name_of(row) for row in empty.tolist()]
        many = len(empty) > BARE_SHARE * len(annotations)
        cure = "if they were not annotated yet, leave them out: the model learns that there is nothing" if many else ""
        yield Finding.of(
            "no_objects", "warning" if many else "info", "image", "without objects", names, cure, split=opened.name
        )


def conflicting_labels(parts: list[ScannedSplit], scan: Scan, codes: np.ndarray) -> Iterator[Finding]:
    """Identical images with different classes.

    Args:
        codes: of `vertebra.data.check.duplicates.exact_groups`.
    """
    facts = [each for part in parts for each in part.facts]
    classes: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    files: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row in np.flatnonzero(codes >= 0).tolist():
        for task, each in facts[row].annotations.items():
            if get_task(task).image_level and each.occurrences is not None:
                classes[task, int(codes[row])].add(np.asarray(each.occurrences, dtype=np.int64).tobytes())
                files[task, int(codes[row])].append(scan.names[row])
    wrong = [key for key, values in classes.items() if len(values) > 1]
    if wrong:
        texts = [" = ".join(files[key][:3]) for key in wrong]
        named = tuple(name for key in wrong for name in files[key])
        cure = "keep the right one of each"
        which = "in several classes"
        yield Finding.of("conflicting_labels", "warning", "image", which, texts, cure, files=named, task=wrong[0][0])
