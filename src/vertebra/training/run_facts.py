"""Reads what a run's files hold, for its report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.config import read_raw
from vertebra.errors import RunError
from vertebra.model_info import ModelInfo
from vertebra.report.run_facts import MetricFacts, RunFacts
from vertebra.tasks import get_task
from vertebra.training.folder import CONFIG
from vertebra.training.metrics_table import read_history
from vertebra.training.record import read_record
from vertebra.training.selection import BestWeights, directions
from vertebra.training.state_files import BEST


def read_rows(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's tables of metrics, one an epoch; none before the first epoch has ended.

    Raises:
        RunError: a table is damaged.
    """
    try:
        return [row for row in read_history(folder) if "epoch" in row]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{folder}: its table of metrics cannot be read ({error})") from None


def metric_facts(info: ModelInfo) -> dict[str, MetricFacts]:
    """The facts about all metrics of a model, by ``branch/metric``."""
    meanings = {
        branch: {"loss": "the loss, as in training", **get_task(task).metric(labels).meanings}
        for branch, (task, labels) in info.branches.items()
    }
    facts = {}
    for name, lower in directions(info).items():
        branch, metric, *_ = name.split("/")
        facts[name] = MetricFacts(lower, meanings[branch].get(metric, ""))
    return facts


def run_facts(folder: Path, info: ModelInfo, kept: BestWeights | None = None) -> RunFacts:
    """The facts about a run.

    Args:
        folder: of the run.
        info: of its model.
        kept: its best weights; None: as its record has them.

    Raises:
        RunError: a file of the run is damaged.
    """
    record: Mapping[str, Any] = read_record(folder) or {"starts": [], "data": {}}
    if kept is None and record.get("kept"):
        entry = record["kept"]
        scores = {name: math.nan if value is None else float(value) for name, value in entry["scores"].items()}
        kept = BestWeights.from_state({**entry, "scores": scores})
    starts = record["starts"]
    return RunFacts(
        folder=folder,
        config=read_raw(folder / CONFIG) if (folder / CONFIG).is_file() else {},
        resolved=starts[-1].get("resolved", {}) if starts else {},
        starts=starts,
        rows=read_rows(folder),
        kept_epoch=None if kept is None else kept.epoch,
        kept_text="the run has not ended; the best weights so far" if kept is None else kept_text(kept),
        kept_scores={} if kept is None else kept.scores,
        monitor=kept.best.name if kept is not None and kept.best is not None else "",
        metrics=metric_facts(info),
        tasks={name: task for name, (task, _) in info.branches.items()},
        choices=record.get("choices", []),
    )


def kept_text(kept: BestWeights) -> str:
    """Which weights a run has kept, and why."""
    where = f"{BEST} holds the weights of epoch {kept.epoch}"
    if kept.best is None:
        return f"{where}, the newest ones: no evaluation had a score."
    direction = "lowest" if kept.best.lower_is_better else "highest"
    return f"{where}, which had the {direction} {kept.best.name}."
