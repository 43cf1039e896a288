"""Going on with a run: what of its config may have changed since its state was saved, and what may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vertebra import __version__
from vertebra.build import canvas_size
from vertebra.config import SPLITS, BranchConfig, Config, SourceConfig, TrainConfig, read_raw
from vertebra.errors import ConfigError, RunError, shortened
from vertebra.recipe.lr_schedule import lr_factor, make_schedule
from vertebra.training.data_paths import check_found, locate, move, with_absolute_paths
from vertebra.training.fingerprint import Fingerprint, check_same
from vertebra.training.folder import CONFIG, LAST
from vertebra.training.hardware import Hardware, check_hardware
from vertebra.training.optimizers import peak_lr, weight_decay
from vertebra.training.record import recorded_folder
from vertebra.training.saved_state import damaged, read_state
from vertebra.yaml_files import assign, parse_assignment

KEY = "vertebra"  # of what is added to a checkpoint
FREE = frozenset(
    f"train.{name}"
    for name in (
        "epochs", "patience", "evaluate_every", "save_every_minutes", "workers",
        "accelerator", "devices", "num_nodes", "strategy", "precision",
    )
)  # fmt: skip
DIVISION = frozenset({"train.batch_size", "train.accumulate"})  # of a step; free where the number of processes changes
COMPUTING = frozenset({"device", "processes", "train.strategy", "train.precision"})  # changes that move the last bits


@dataclass(frozen=True)
class Saved:
    """The state of a run in a checkpoint, beside the weights.

    Attributes:
        config: what it was trained with so far.
        data: fingerprints by split; empty in checkpoints of versions that wrote none.
        processes: of the whole run; None if it is not known.
        device: kind of device; None if it is not known.
        precision: that it computed in; None if it is not known.
        version: of Vertebra; None if it is not known.
        epoch: the epoch that was begun last, counted from 1.
        scheduled: number of steps that the learning-rate schedule has done.
        rates: the learning rates of the next step.
        peaks: the peak learning rates.
    """

    config: Config
    data: Mapping[str, Fingerprint] = field(default_factory=dict)
    processes: int | None = None
    device: str | None = None
    precision: str | None = None
    version: str | None = None
    epoch: int = 0
    scheduled: int = 0
    rates: tuple[float, ...] = ()
    peaks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resumption:
    """How a run is resumed.

    Attributes:
        config: with what.
        hardware: on what.
        saved: what it was before.
        changes: what is other than before, in words.
    """

    config: Config
    hardware: Hardware
    saved: Saved
    changes: list[str]


def plan_resumption(
    folder: Path, *, data: str | Path | None, overrides: Sequence[str], sections: Mapping[str, Any]
) -> Resumption:
    """How a run is resumed, with the user's changes.

    Args:
        folder: the run.
        data: where its data are now; None if they did not move.
        overrides: ``key=value`` assignments over its config.
        sections: values over its config, as nested mappings.

    Raises:
        RunError: it is no run folder, nothing was saved, or something cannot change.
        ConfigError: an option is wrong, or the data are not found.
    """
    if not (folder / CONFIG).exists():
        raise RunError(f"{folder} is no run folder (it has no {CONFIG})")
    if not (folder / LAST).exists():
        raise RunError(
            f"{folder} has no {LAST}: the run stopped before its first save; delete the folder and start it again, or start it "
            "with another --out"
        )
    kept = Config.from_raw(read_raw(folder / CONFIG), str(folder / CONFIG))
    raw = kept.model_dump(mode="json")  # written out, so that every key leads somewhere
    for key, value in [*_flat(sections), *map(parse_assignment, overrides)]:
        if key == "data" and isinstance(value, str):
            data = value
            continue
        for written_key in _written_out(key, kept):
            assign(raw, written_key, value)
    wanted = Config.from_raw(raw, str(folder / CONFIG))
    recorded = recorded_folder(folder)
    wanted = locate(wanted, folder, recorded) if data is None else move(wanted, data)
    check_found([*wanted.data.train, *wanted.data.val], folder, recorded)
    saved = read_saved(folder / LAST, kept)
    hardware = check_hardware(wanted.train)
    changes = compare(saved, wanted, hardware, folder)
    return Resumption(with_absolute_paths(wanted), hardware, saved, changes)


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield start + key, value


def _written_out(key: str, config: Config) -> list[str]:
    """The keys of a written-out config that a key of a short form means.

    ``model.neck.name`` is the neck of the one branch, ``data.ignore_index`` that of every source.

    Raises:
        ConfigError: the key is of one branch, and there are several.
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


def read_saved(path: Path, kept: Config) -> Saved:
    """The state of a run in a checkpoint.

    Args:
        kept: the config in the run folder, for checkpoints of versions that did not keep it.

    Raises:
        RunError: it is damaged, or no checkpoint of a run.
    """
    checkpoint = read_state(path)
    entry = checkpoint.get(KEY, {})
    try:
        lr_scheduler = checkpoint["lr_schedulers"][0]
        return Saved(
            config=Config.from_raw(entry["config"], str(path)) if "config" in entry else kept,
            data=entry.get("data", {}),
            processes=entry.get("processes"),
            device=entry.get("device"),
            precision=entry.get("precision"),
            version=entry.get("version"),
            epoch=checkpoint["epoch"] + 1,
            scheduled=lr_scheduler["last_epoch"],
            rates=tuple(lr_scheduler["_last_lr"]),
            peaks=tuple(lr_scheduler["base_lrs"]),
        )
    except (LookupError, TypeError, AttributeError):
        raise damaged(path) from None


def compare(saved: Saved, wanted: Config, hardware: Hardware, folder: Path) -> list[str]:
    """What is other than when a run's state was saved, in words.

    Raises:
        RunError: something is other that cannot change within a run.
    """
    before, now = (dict(_options(config)) for config in (saved.config, wanted))
    differing = {key: (before.get(key), now.get(key)) for key in {**before, **now} if before.get(key) != now.get(key)}
    processes = hardware.processes * wanted.train.num_nodes
    other_count = saved.processes is not None and saved.processes != processes
    fixed = [key for key in differing if key not in (FREE | DIVISION if other_count else FREE)]
    if fixed:
        told = [f"{key} (it was {_shown(differing[key][0])}, now {_shown(differing[key][1])})" for key in fixed[:4]]
        raise RunError(
            f"{', '.join(told)} cannot change within a run; put it back, or start a new run from this one's weights "
            f"(--from {folder})"
        )
    if wanted.train.epochs < saved.epoch:
        raise RunError(
            f"train.epochs is {wanted.train.epochs}, and the run is in epoch {saved.epoch}; give at least that"
        )
    lines = [f"{key}: {_shown(old)} -> {_shown(new)}" for key, (old, new) in differing.items()]
    if saved.device is not None and saved.device != hardware.device:
        lines.append(f"device: {saved.device} -> {hardware.device}")
    if other_count:
        _check_step(saved, wanted.train, processes)
        lines.append(f"processes: {saved.processes} -> {processes}, with as many images a step as before")
    return lines


def _check_step(saved: Saved, recipe: TrainConfig, processes: int) -> None:
    """Whether a step has as many images with another number of processes.

    Raises:
        RunError: it has not; the message says what to set.
    """
    old, count = saved.config.train, saved.processes or 1
    before = old.batch_size * old.accumulate * count
    now = recipe.batch_size * recipe.accumulate * processes
    if before != now:
        raise RunError(
            f"train.devices: {_count(processes)} with train.batch_size {recipe.batch_size} and train.accumulate "
            f"{recipe.accumulate} make steps of {now} images, and the run has steps of {before}; set them so that it is "
            f"{before} again, or go back to {_count(count)}"
        )


def _count(processes: int) -> str:
    return f"{processes} process" if processes == 1 else f"{processes} processes"


def check_data(resumption: Resumption, now: Mapping[str, Fingerprint], folder: Path) -> None:
    """Whether the data are those that the run was trained on, wherever they are.

    Raises:
        RunError: they are not.
    """
    cure = f"give the same data (--data), or start a new run from this one's weights (--from {folder})"
    for split, before in resumption.saved.data.items():
        check_same(split, before, now[split], cure, annotations=resumption.saved.version == __version__)


def consequences(resumption: Resumption, steps: int, precision: str) -> list[str]:
    """What another number of epochs means for the learning rate, and other devices for exactness, in words.

    Args:
        steps: in an epoch.
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
    other_precision = saved.precision not in (None, precision)
    if other_precision:
        lines.append(f"precision: {saved.precision} -> {precision}")
    if other_precision or {line.partition(":")[0] for line in resumption.changes} & COMPUTING:
        lines.append(
            "on other devices or in another precision the weights are not to the bit those of an unchanged run"
        )
    return lines


def _options(config: Config) -> Iterator[tuple[str, Any]]:
    """All options but the places of data, by dotted key; rates that were left out as they are."""
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
    """Keeps in each checkpoint what a run was trained with, and sets the learning rate of a run whose schedule has changed.

    Args:
        config: of the run.
        data: fingerprints by split.
        new_course: whether the number of epochs is another one than when the state was saved.
    """

    def __init__(self, config: Config, data: Mapping[str, Fingerprint], new_course: bool) -> None:
        self.config = config
        self.data = dict(data)
        self.new_course = new_course

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds to what is saved."""
        checkpoint[KEY] = {
            "config": self.config.model_dump(mode="json"),
            "data": self.data,
            "processes": trainer.world_size,
            "device": trainer.strategy.root_device.type,
            "precision": str(trainer.precision),
            "version": __version__,
        }

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The optimizer has the rate of the old schedule; the next step takes that of the new one."""
        if not self.new_course:
            return
        lr_scheduler: Any = trainer.lr_scheduler_configs[0].scheduler
        for group, peak, factor in zip(
            trainer.optimizers[0].param_groups, lr_scheduler.base_lrs, lr_scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = peak * factor(lr_scheduler.last_epoch)
