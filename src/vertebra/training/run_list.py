"""The runs in a folder, read from their files. Nothing here loads torch, and a damaged run does not end the list."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from vertebra.errors import RunError, UnknownName, VertebraError, first_line, shortened
from vertebra.tasks import all_tasks
from vertebra.training.metrics_table import METRICS, Row, is_of_class, read_history
from vertebra.training.process_id import is_alive
from vertebra.training.record_file import RECORD, read_record

State = Literal["finished", "running", "stopped", "failed", "damaged"]
CONFIG = "config.yaml"
MODEL = "model.safetensors"
FILES = ("last.ckpt", MODEL, METRICS, RECORD)
DEPTH = 3  # folders within folders that are searched
SILENCE = 300.0  # seconds beyond the interval of saves after which a run on another machine counts as ended


@dataclass(frozen=True)
class RunSummary:
    """A run, from the files in its folder.

    Attributes:
        folder: of the run.
        state: "finished"; "running"; "stopped", by a signal; "failed", with an error or killed; "damaged", if a file cannot be
            read. All but the first two can be resumed, unless files are lost.
        reason: why it failed, or what is damaged; "" otherwise.
        date: when it started first, ISO 8601; "" if unknown.
        seconds: of training so far.
        epochs_done: number of epochs with metrics.
        epochs: number of epochs in all; None if unknown.
        epoch: the epoch of the best weights so far, from 1; None before the first evaluation.
        metrics: of these weights on the validation data, by ``branch/metric``.
        headline: the names of the few metrics to show first: of those that select the best weights, and of each task.
        lower_is_better: those of all metrics for which smaller is better.
        backbone: its name.
        decoders: by branch.
        data: paths of the training data.
    """

    folder: Path
    state: State = "damaged"
    reason: str = ""
    date: str = ""
    seconds: float = 0.0
    epochs_done: int = 0
    epochs: int | None = None
    epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    headline: tuple[str, ...] = ()
    lower_is_better: frozenset[str] = frozenset()
    backbone: str = ""
    decoders: dict[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        lower = sorted(self.lower_is_better)
        return {**asdict(self), "folder": str(self.folder), "lower_is_better": lower}

    def metric(self, name: str) -> float | None:
        """A metric by its name, ``branch/metric`` or without the branch; None if there is none or it is not a number."""
        value = self.metrics.get(name)
        if value is None:
            value = next((number for key, number in self.metrics.items() if key.partition("/")[2] == name), None)
        return None if value is None or math.isnan(value) else value


def list_runs(folder: str | Path = "runs", *, sort: str | None = None) -> list[RunSummary]:
    """The runs in a folder and in the folders in it, newest first. Damaged runs are listed, too, with what is wrong.

    Args:
        folder: the folder; it may also be a run folder itself.
        sort: a metric, ``boxes/map`` or ``map``: the best run comes first, and runs without it come last.

    Raises:
        RunError: there is no such folder.
        UnknownName: no run has the metric ``sort``; the message has the nearest right name.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder; give the folder that your runs are in")
    runs = sorted((summarize_run(path) for path in _run_folders(root, DEPTH)), key=lambda run: run.date, reverse=True)
    if sort is None:
        return runs
    if runs and all(run.metric(sort) is None for run in runs):
        known = dict.fromkeys(name for run in runs for name in run.metrics if not is_of_class(name))
        raise UnknownName("metric", sort, known)
    return sorted(runs, key=lambda run: _rank(run, sort))


def _rank(run: RunSummary, name: str) -> float:
    """The order of a run by a metric."""
    value = run.metric(name)
    if value is None:
        return math.inf
    lower = {part for key in run.lower_is_better for part in (key, key.partition("/")[2])}
    return value if any(name == part or name.startswith(f"{part}/") for part in lower) else -value


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """The run folders in a folder, itself included."""
    if is_run_folder(folder):
        yield folder
    elif depth:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                yield from _run_folders(path, depth - 1)


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is one of a run, also of a damaged one."""
    return (folder / RECORD).is_file() or (
        (folder / CONFIG).is_file() and any((folder / name).is_file() for name in FILES)
    )


def summarize_run(folder: Path) -> RunSummary:
    """The facts about a run in the files of its folder."""
    problems: list[str] = []
    record: Mapping[str, Any] = _read(problems, RECORD, lambda: _some(read_record(folder))) or {}
    config: Mapping[str, Any] = _read(problems, CONFIG, lambda: _read_config(folder)) or {}
    rows: list[Row] = _read(problems, METRICS, lambda: _read_rows(folder)) or []
    if record.get("kept") and not (folder / MODEL).is_file():
        problems.append(f"{MODEL}: missing")
    branches: Mapping[str, Any] = config.get("model", {}).get("branches", {})
    monitor, headline = _metric_names(config, branches)
    lower = frozenset(map(str, record.get("lower_is_better", ())))
    kept = _read(problems, RECORD, lambda: _kept(record, rows, monitor, lower))
    epoch, metrics = (None, {}) if kept is None else kept
    state: State = "damaged"
    reason = "; ".join(problems)
    if not problems:
        state, reason = _state(folder, record, config)
    starts = record.get("starts") or [{}]
    return RunSummary(
        folder=folder,
        state=state,
        reason=reason,
        date=starts[0].get("date", ""),
        seconds=rows[-1].get("seconds", 0.0) if rows else 0.0,
        epochs_done=len(rows),
        epochs=config.get("train", {}).get("epochs"),
        epoch=epoch,
        metrics=metrics,
        headline=headline,
        lower_is_better=lower,
        backbone=str(config.get("model", {}).get("backbone", {}).get("name", "")),
        decoders={name: str(branch["decoder"]["name"]) for name, branch in branches.items()},
        data=tuple(dict.fromkeys(str(source["path"]) for source in config.get("data", {}).get("train", ()))),
    )


def _read(problems: list[str], name: str, read: Any) -> Any:
    """The content of a file, or None with a problem more."""
    try:
        return read()
    except VertebraError as error:
        problems.append(first_line(error))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        problems.append(f"{name}: {shortened(first_line(error), 100)}")
    return None


def _some(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        raise ValueError("missing")
    return record


def _read_config(folder: Path) -> Mapping[str, Any]:
    """The config, as far as the list needs it.

    Raises:
        ValueError: it is not the config of a run.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError("missing")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        for branch in config["model"]["branches"].values():
            _ = branch["decoder"]["name"], branch["task"]
        _ = config["model"]["backbone"]["name"], [source["path"] for source in config["data"]["train"]]
        int(config["train"]["epochs"])
    except (LookupError, TypeError, AttributeError, ValueError):
        raise ValueError("not the config of a run") from None
    return dict(config)


def _read_rows(folder: Path) -> list[Row]:
    """The rows of metrics; none before the end of the first epoch."""
    return read_history(folder) if (folder / METRICS).is_file() else []


def _state(folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[State, str]:
    """The state of an undamaged run, and why it failed."""
    if record.get("kept"):
        return "finished", ""
    last = (record.get("starts") or [{}])[-1]
    end = last.get("end")
    if isinstance(end, Mapping):
        return ("stopped", "") if end.get("state") == "stopped" else ("failed", str(end.get("reason", "")))
    alive = is_alive(last.get("process") or {})
    if alive is None:  # on another machine, which shares the folder
        minutes = config.get("train", {}).get("save_every_minutes", 10)
        newest = max(((folder / name).stat().st_mtime for name in FILES if (folder / name).is_file()), default=0.0)
        alive = time.time() - newest < 60 * float(minutes) + SILENCE
    return (
        ("running", "")
        if alive
        else ("failed", "its process ended before the run was finished; it may have been killed")
    )


def _metric_names(config: Mapping[str, Any], branches: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    """The metrics that select the best weights, and those to show first; none of a task that is not installed here."""
    named = config.get("train", {}).get("monitor")
    known = all_tasks()
    tasks = {name: known[branch["task"]] for name, branch in branches.items() if branch["task"] in known}
    monitor = [f"{name}/{task.monitor}" for name, task in tasks.items()] if named is None else [str(named)]
    main = [f"{name}/{metric}" for name, task in tasks.items() for metric in task.headline]
    return monitor, tuple(dict.fromkeys([*(monitor if named is not None else []), *main]))


def _kept(
    record: Mapping[str, Any], rows: Sequence[Row], monitor: Sequence[str], lower: frozenset[str]
) -> tuple[int | None, dict[str, float]]:
    """The epoch and metrics of the best weights; of a run that has not ended, those of the best row so far."""
    kept = record.get("kept")
    if isinstance(kept, Mapping):
        scores = {str(name): math.nan if value is None else float(value) for name, value in kept["scores"].items()}
        return int(kept["epoch"]), scores
    scored = [row for row in rows if any(math.isfinite(row.get(name, math.nan)) for name in monitor)]
    if not scored:
        return None, {}

    def score(row: Row) -> float:
        values = [-row[name] if name in lower else row[name] for name in monitor if name in row]
        return sum(values) / len(values)

    best = max(scored, key=score)
    prefixes = {name.partition("/")[0] for name in monitor}
    metrics = {name: value for name, value in best.items() if name.partition("/")[0] in prefixes}
    return int(best["epoch"]), metrics
