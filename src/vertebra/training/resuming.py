"""Resuming a run: which options may differ from those of the saved state, and which must not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vertebra import __version__
from vertebra.build import canvas_size
from vertebra.config import SPLITS, BranchConfig, Config, SourceConfig, read_raw
from vertebra.errors import ConfigError, RunError, shortened
from vertebra.recipe.lr_schedule import lr_factor, make_schedule
from vertebra.training.budget import check_budget_change
from vertebra.training.data_paths import check_data_exists, locate, move, with_absolute_paths
from vertebra.training.division import DIVISION, check_step, step_size
from vertebra.training.fingerprint import Fingerprint, check_same
from vertebra.training.folder import CONFIG
from vertebra.training.frozen_start import frozen_steps
from vertebra.training.hardware import Hardware, check_hardware
from vertebra.training.optimizers import peak_lr, weight_decay
from vertebra.training.record import recorded_folder
from vertebra.training.resolved_config import ResolvedConfig, recorded_config, resolved_config
from vertebra.training.saved_state import damaged, read_state
from vertebra.training.state_files import LAST, saved_states
from vertebra.yaml_files import assign, parse_assignment

KEY = "vertebra"  # of Vertebra's entry in a checkpoint
CHANGEABLE = frozenset(
    f"train.{name}"
    for name in (
        "epochs", "budget", "patience", "evaluate_every", "save_every_minutes", "workers", "log", "cache", "teacher",
        "accelerator", "devices", "num_nodes", "strategy", "precision", "compile",
    )
)  # fmt: skip
NUMERIC = DIVISION | frozenset(
    {"device", "processes", "train.strategy", "train.precision", "train.compile"}
)  # changes after which results are no longer bit-identical


@dataclass(frozen=True)
class Saved:
    """The state of a run in a checkpoint, without the weights.

    Attributes:
        config: the config so far.
        data: fingerprints by split; empty in checkpoints of older versions.
        processes: number of processes of the run; None if unknown.
        device: kind of device; None if unknown.
        precision: numeric precision; None if unknown.
        version: of Vertebra; None if unknown.
        teacher: the identity of its teacher; None for none.
        epoch: the last epoch that began, counted from 1.
        scheduled: number of steps of the learning-rate schedule so far.
        rates: the learning rates of the next step.
        peaks: the peak learning rates.
    """

    config: ResolvedConfig
    data: Mapping[str, Fingerprint] = field(default_factory=dict)
    processes: int | None = None
    device: str | None = None
    precision: str | None = None
    version: str | None = None
    teacher: str | None = None
    epoch: int = 0
    scheduled: int = 0
    rates: tuple[float, ...] = ()
    peaks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resumption:
    """How a run is resumed.

    Attributes:
        config: the new config.
        hardware: the new hardware.
        saved: the saved state.
        changes: the differences, in words.
        state: the file of the saved state.
    """

    config: ResolvedConfig
    hardware: Hardware
    saved: Saved
    changes: list[str]
    state: Path


def plan_resumption(
    folder: Path, *, data: str | Path | None, overrides: Sequence[str], sections: Mapping[str, Any]
) -> Resumption:
    """How a run is resumed, with the user's changes.

    Args:
        folder: the run.
        data: the new path of its data; None if they did not move.
        overrides: ``key=value`` assignments over its config.
        sections: values over its config, as nested mappings.

    Raises:
        RunError: it is no run folder, it has no saved state, or an option must not change.
        ConfigError: an option is wrong, or data are missing.
    """
    if not (folder / CONFIG).exists():
        raise RunError(f"{folder} is no run folder (it has no {CONFIG})")
    if not saved_states(folder):
        raise RunError(
            f"{folder} has no {LAST}: the run stopped before its first save; delete the folder and start it again, or start it "
            "in another folder: out=... (--out)"
        )
    old = recorded_config(read_raw(folder / CONFIG), str(folder / CONFIG))
    raw = old.model_dump(mode="json")  # written out, so that every key exists
    for key, value in [*_flat(sections), *map(parse_assignment, overrides)]:
        if key == "data" and isinstance(value, str):
            data = value
            continue
        for written_key in _written_out(key, old):
            assign(raw, written_key, value)
    changed = Config.from_raw(raw, str(folder / CONFIG))
    recorded = recorded_folder(folder)
    changed = locate(changed, folder, recorded) if data is None else move(changed, data)
    check_data_exists([*changed.data.train, *changed.data.val], folder, recorded)
    new = resolved_config(with_absolute_paths(changed))
    state, saved, notes = read_newest(folder, old)
    hardware = check_hardware(new.train)
    changes = [*notes, *compare(saved, new, hardware, folder)]
    return Resumption(new, hardware, saved, changes, state)


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield start + key, value


def _written_out(key: str, config: Config) -> list[str]:
    """The keys of the written-out config for a key of a short form.

    ``model.neck.name`` is the neck of the one branch, ``data.ignore_index`` that of every source.

    Raises:
        ConfigError: the key is for a single branch, and there are several.
    """
    section, _, rest = key.partition(".")
    first, _, deeper = rest.partition(".")
    if section == "model" and first in BranchConfig.model_fields:
        names = list(config.model.branches)
        if len(names) > 1:
            raise ConfigError(
                f"'{key}': this run has the branches {', '.join(names)}; write model.branches.NAME.{rest}"
            )
        return [f"model.branches.{names[0]}.{rest}"]
    splits = SPLITS if first in SourceConfig.model_fields else (first,)
    field = rest if first in SourceConfig.model_fields else deeper
    if section == "data" and field in SourceConfig.model_fields:
        return [
            f"data.{split}.{number}.{field}" for split in splits for number in range(len(getattr(config.data, split)))
        ]
    return [key]


def read_newest(folder: Path, config: ResolvedConfig) -> tuple[Path, Saved, list[str]]:
    """The newest saved state of a run that can be read: its file, its content, and a note if it is not the last one.

    Raises:
        RunError: none can be read; the message is about the last one.
    """
    problems: list[RunError] = []
    for path in saved_states(folder):
        try:
            saved = read_saved(path, config)
        except RunError as error:
            problems.append(error)
            continue
        why = str(problems[0]).partition(";")[0] if problems else f"there is no {LAST}"
        note = f"{why}; the run continues from the save before it, {path.name}, in epoch {saved.epoch}"
        return path, saved, [] if path.name == LAST else [note]
    raise problems[0]


def read_saved(path: Path, config: ResolvedConfig) -> Saved:
    """The state of a run in a checkpoint.

    Args:
        config: of the run folder, for checkpoints of older versions without a config.

    Raises:
        RunError: it is damaged, or not the checkpoint of a run.
    """
    checkpoint = read_state(path)
    entry = checkpoint.get(KEY, {})
    try:
        lr_scheduler = checkpoint["lr_schedulers"][0]
        return Saved(
            config=recorded_config(entry["config"], str(path)) if "config" in entry else config,
            data=entry.get("data", {}),
            processes=entry.get("processes"),
            device=entry.get("device"),
            precision=entry.get("precision"),
            version=entry.get("version"),
            teacher=entry.get("teacher"),
            epoch=checkpoint["epoch"] + 1,
            scheduled=lr_scheduler["last_epoch"],
            rates=tuple(lr_scheduler["_last_lr"]),
            peaks=tuple(lr_scheduler["base_lrs"]),
        )
    except (LookupError, TypeError, AttributeError):
        raise damaged(path) from None


def compare(saved: Saved, new: ResolvedConfig, hardware: Hardware, folder: Path) -> list[str]:
    """The differences from the saved state, in words.

    Raises:
        RunError: an option differs that must not change within a run.
    """
    before, now = (dict(_options(config)) for config in (saved.config, new))
    differing = {key: (before.get(key), now.get(key)) for key in {**before, **now} if before.get(key) != now.get(key)}
    processes = hardware.processes * new.train.num_nodes
    other_count = saved.processes is not None and saved.processes != processes
    same_step = step_size(new.train) == step_size(saved.config.train)
    fixed = [key for key in differing if key not in (CHANGEABLE | DIVISION if other_count or same_step else CHANGEABLE)]
    if fixed:
        fixed_words = [
            f"{key} (it was {_shown(differing[key][0])}, now {_shown(differing[key][1])})" for key in fixed[:4]
        ]
        raise RunError(
            f"{', '.join(fixed_words)} cannot change within a run; put it back, or start a new run from this one's weights "
            f"(--from {folder}, or vertebra.load(...).fit(...))"
        )
    check_budget_change(saved.config, new, processes)
    if new.train.budget is None and new.train.epochs < saved.epoch:
        raise RunError(f"train.epochs is {new.train.epochs}, and the run is in epoch {saved.epoch}; give at least that")
    lines = [f"{key}: {_shown(before)} -> {_shown(now)}" for key, (before, now) in differing.items()]
    if saved.device is not None and saved.device != hardware.device:
        lines.append(f"device: {saved.device} -> {hardware.device}")
    if other_count:
        check_step(saved.config.train, saved.processes or 1, new.train, processes)
        lines.append(f"processes: {saved.processes} -> {processes}, with as many images a step as before")
    return lines


def check_data(resumption: Resumption, now: Mapping[str, Fingerprint], folder: Path) -> None:
    """Checks that the data are those that the run was trained on, at any path.

    Raises:
        RunError: they are not.
    """
    cure = (
        f"give the same data (data=..., or --data), or start a new run from this one's weights (--from {folder}, or "
        "vertebra.load(...).fit(...))"
    )
    for split, before in resumption.saved.data.items():
        check_same(split, before, now[split], cure, annotations=resumption.saved.version == __version__)


def consequences(resumption: Resumption, steps: int, precision: str) -> list[str]:
    """The effects of another number of epochs on the learning rate, and of other hardware on exactness, in words.

    Args:
        steps: number of steps in an epoch.
        precision: of the resumed run.
    """
    saved, recipe = resumption.saved, resumption.config.train
    lines = []
    if recipe.epochs != saved.config.train.epochs:
        schedule = make_schedule(recipe.lr_schedule.name, recipe.lr_schedule.options)
        factor = lr_factor(saved.scheduled, recipe.epochs * steps, recipe.warmup, schedule)
        lines.append(
            f"the learning rate follows the schedule of {recipe.epochs} epochs from here on: {max(saved.rates):.3g} -> "
            f"{factor * max(saved.peaks):.3g}, and {100 * schedule.factor(1.0):.3g} % of {max(saved.peaks):.3g} at the end"
        )
        before, now = (frozen_steps(recipe, epochs * steps) for epochs in (saved.config.train.epochs, recipe.epochs))
        if before <= saved.scheduled < now:
            lines.append(
                f"the backbone is frozen again, up to step {now}, as in the schedule of {recipe.epochs} epochs"
            )
    other_precision = saved.precision not in (None, precision)
    if other_precision:
        lines.append(f"precision: {saved.precision} -> {precision}")
    if other_precision or {line.partition(":")[0] for line in resumption.changes} & NUMERIC:
        lines.append(
            "on other devices, in another precision or in other micro batches the weights are not to the bit those of an "
            "unchanged run"
        )
    return lines


def _options(config: Config) -> Iterator[tuple[str, Any]]:
    """All options except the paths of data, by dotted key, with default rates filled in."""
    values = config.model_dump(mode="json")
    train = values["train"]
    if config.train.image_size is not None:
        train["image_size"] = list(canvas_size(config.train.image_size, ()))
    train["lr"], train["weight_decay"] = peak_lr(config.train), weight_decay(config.train)
    for split in SPLITS:
        values["data"][split] = {
            str(number): {key: value for key, value in source.items() if key != "path"}
            for number, source in enumerate(values["data"][split])
        }
    return _flat(values)


def _shown(value: Any) -> str:
    return "left out" if value is None else shortened(str(value), 40)


class ResumableState(pl.Callback):
    """Stores a run's options in each checkpoint, and sets the learning rate if the schedule has changed.

    Args:
        config: of the run.
        data: fingerprints by split.
        schedule_changed: whether the number of epochs, or the budget, differs from that of the saved state.
        teacher: the identity of its teacher; None for none.
    """

    def __init__(
        self, config: Config, data: Mapping[str, Fingerprint], schedule_changed: bool, teacher: str | None
    ) -> None:
        self.config = config
        self.data = dict(data)
        self.schedule_changed = schedule_changed
        self.teacher = teacher

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds Vertebra's entry."""
        checkpoint[KEY] = {
            "config": self.config.model_dump(mode="json"),
            "data": self.data,
            "processes": trainer.world_size,
            "device": trainer.strategy.root_device.type,
            "precision": str(trainer.precision),
            "version": __version__,
            "teacher": self.teacher,
        }

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Replaces the learning rate of the old schedule by that of the new one."""
        if not self.schedule_changed:
            return
        lr_scheduler: Any = trainer.lr_scheduler_configs[0].scheduler
        for group, peak, factor in zip(
            trainer.optimizers[0].param_groups, lr_scheduler.base_lrs, lr_scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = peak * factor(lr_scheduler.last_epoch)
