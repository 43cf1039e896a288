"""What to do next: hints from the curves, the counts and the diagnosis of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vertebra.report.measured import Measured
from vertebra.report.run_curves import SECONDS, column_names, curve, training_loss
from vertebra.report.run_facts import MetricFacts, RunFacts
from vertebra.report.split_facts import SplitFacts
from vertebra.tasks.diagnosis import BarChart

RISE = 1.15  # a validation loss that ends this many times its minimum, while the training loss falls
STILL_BETTER = 0.02  # gain of the metric in the last fifth of the epochs, relative to its value
FEW_IMAGES = 20
WEAK = 0.6  # a class whose metric is below this share of the mean of all classes
WAITING = 0.35  # share of the time that loading may take
FEW_MEASURED = 50
MAX_NAMED = 4
MANY_DOUBTED = 0.3  # share of the images with a doubted label from which the model is rather wrong than the labels


def hints(
    facts: RunFacts | None,
    splits: Sequence[SplitFacts],
    measured: Measured | None,
    metrics: Mapping[str, MetricFacts],
) -> list[str]:
    """Sentences that each name a finding and what to try.

    Args:
        facts: of the run; None for a model without one.
        splits: of the data.
        measured: an evaluation, or None.
        metrics: facts about the metrics, by ``branch/metric``.
    """
    lines: list[str] = []
    if facts is not None:
        lines += [*_losses(facts), *_unfinished(facts), *_waiting(facts)]
    lines += _few_samples(splits)
    scores = measured.scores if measured is not None and measured.scores else facts.kept_scores if facts else {}
    lines += _weak_classes(scores, {name for name, fact in metrics.items() if fact.lower_is_better})
    if measured is not None:
        lines += [*_largest_error(measured), *_wrong_labels(measured), *_few_measured(measured)]
    return lines


def _losses(facts: RunFacts) -> Iterator[str]:
    """Overfitting: the validation loss has risen since its minimum, and is above the training loss, which has fallen."""
    for branch in facts.tasks:
        val = curve(facts.rows, f"{branch}/loss")
        training = training_loss(facts.rows, branch, "training")
        if len(val.x) < 3 or not len(training.x):
            continue
        lowest = int(val.y.argmin())
        train = dict(zip(training.x.tolist(), training.y.tolist(), strict=True))
        above = val.y[-1] > train.get(val.x[-1], math.inf)
        if (
            above
            and val.y[-1] > RISE * val.y[lowest]
            and train.get(val.x[-1], math.inf) < train.get(val.x[lowest], -math.inf)
        ):
            yield (
                f"{branch}: overfitting. The validation loss was lowest in epoch {val.x[lowest]:.0f} ({val.y[lowest]:.3g}) and "
                f"ended at {val.y[-1]:.3g}, while the training loss fell. Try more images, stronger augmentation (augment=strong), "
                "more weight decay, or a smaller backbone."
            )


def _unfinished(facts: RunFacts) -> Iterator[str]:
    """The kept weights are the last ones, and the metric was still rising."""
    values = curve(facts.rows, facts.monitor) if facts.monitor else None
    if values is None or len(values.x) < 5 or facts.kept_epoch != values.x[-1]:
        return
    lower = facts.metrics[facts.monitor].lower_is_better if facts.monitor in facts.metrics else False
    before = values.y[: max(1, math.ceil(0.8 * len(values.y)))]
    earlier = float(before.min() if lower else before.max())
    gain = (earlier - values.y[-1] if lower else values.y[-1] - earlier) / (abs(earlier) or 1.0)
    if gain > STILL_BETTER:
        yield (
            f"{facts.monitor} was still improving when the training ended (from {earlier:.4g} to {values.y[-1]:.4g} in the last "
            f"fifth of the epochs). Train for more epochs than {int(values.x[-1])}."
        )


def _waiting(facts: RunFacts) -> Iterator[str]:
    names = [name for name in column_names(facts.rows) if name.startswith(SECONDS)]
    totals = {name: sum(row.get(name, 0.0) for row in facts.rows) for name in names}
    whole = sum(totals.values())
    share = totals.get(f"{SECONDS}data", 0.0) / whole if whole else 0.0
    if share > WAITING:
        yield (
            f"{share:.0%} of the time went into waiting for images. Use more loader processes (workers), smaller image files, or a "
            "faster disk."
        )


def _few_samples(splits: Sequence[SplitFacts]) -> Iterator[str]:
    train = next((split for split in splits if split.name == "train"), None)
    for branch, counts in train.class_images.items() if train is not None else ():
        few = {name: count for name, count in counts.items() if count < FEW_IMAGES}
        if few and len(few) <= max(1, len(counts) // 2):
            listed = _listed([f"{name} ({count})" for name, count in sorted(few.items(), key=lambda item: item[1])])
            yield (
                f"{branch}: classes in fewer than {FEW_IMAGES} training images: {listed}. Label more images of them, or draw them "
                "more often (balance: classes)."
            )
        elif few:
            yield f"{branch}: most classes are in fewer than {FEW_IMAGES} training images. More labeled images help most."


def _weak_classes(scores: Mapping[str, float], lower: set[str]) -> Iterator[str]:
    groups: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in scores.items():
        branch, _, rest = name.partition("/")
        metric, separator, class_name = rest.partition("/")
        if separator and name not in lower and math.isfinite(value):
            groups.setdefault((branch, metric), {})[class_name] = value
    for (branch, metric), values in groups.items():
        mean = float(np.mean(list(values.values())))
        weak = sorted((value, name) for name, value in values.items() if value < WEAK * mean)
        if weak:
            listed = _listed([f"{name} ({value:.3f})" for value, name in weak])
            yield (
                f"{branch}/{metric} is far below the mean of {mean:.3f} for {listed}. The tables of the branch show what goes "
                "wrong there, and its worst images are below."
            )


def _largest_error(measured: Measured) -> Iterator[str]:
    """The kind of error that costs most, from bars in points of a metric, and what to try."""
    for branch, one in measured.branches.items():
        for block in one.diagnosis.blocks if one.diagnosis is not None else ():
            if isinstance(block, BarChart) and block.unit.startswith("points of") and block.bars:
                name = max(block.bars, key=lambda each: block.bars[each])
                if block.bars[name] > 0:
                    gain = f"without them, {block.bars[name]:.3g} {block.unit} more."
                    text = f"{branch}: the largest loss is from errors of the kind '{name}': {gain}"
                    yield f"{text} {block.advice.get(name, '')}".strip()


def _wrong_labels(measured: Measured) -> Iterator[str]:
    for branch, one in measured.branches.items():
        doubted = one.diagnosis.likely_wrong if one.diagnosis is not None else ()
        if not doubted:
            continue
        labels = "1 label" if len(doubted) == 1 else f"{len(doubted)} labels"
        images = len({label.image for label in doubted})
        if images > MANY_DOUBTED * len(one.paths) and len(one.paths) >= FEW_IMAGES:
            yield (
                f"{branch}: the model contradicts {labels} in {images} of {len(one.paths)} images of {measured.what}. Of so many, "
                "most are errors of the model: check only the first of the likely wrong labels."
            )
        else:
            yield f"{branch}: {labels} of {measured.what} may be wrong; check the likely wrong labels below, and correct the data."


def _few_measured(measured: Measured) -> Iterator[str]:
    if measured.images == measured.available < FEW_MEASURED:
        yield (
            f"{measured.what} has {measured.images} images only: differences of a few points between runs may be chance. Compare "
            "by cross-validation (vertebra data split --folds 5), or label more images."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    return shown if len(names) <= MAX_NAMED else f"{shown} and {len(names) - MAX_NAMED} more"
