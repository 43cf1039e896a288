"""Executes a run: prepares trainer, module and record, fits, and finishes with the run folder."""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch

from vertebra.config import Config
from vertebra.cpus import limit_torch
from vertebra.data.open_datasets import Opened
from vertebra.data.workers import convert_worker_exits
from vertebra.errors import RunError, RunStopped, StoppedBySignal
from vertebra.files import os_errors_as_run_errors, replacing
from vertebra.messages import emit, is_first_process
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.recipe.choices import Choice
from vertebra.tasks.thresholds import ClassThresholds
from vertebra.training.budget import FirstPlan, budget_keeper
from vertebra.training.choosing import SameChoices, few_images_notes
from vertebra.training.division import redrawn_note
from vertebra.training.failures import as_user_error, check_single_images
from vertebra.training.fingerprint import fingerprint
from vertebra.training.folder import CONFIG, Interrupted, RunFolder
from vertebra.training.loaders import RunData
from vertebra.training.loggers import LOCAL_FOLDERS, RunLoggers
from vertebra.training.metrics_table import METRICS, METRICS_BY_CLASS, is_of_class
from vertebra.training.prediction_pictures import prediction_pictures
from vertebra.training.progress import ProgressDisplay
from vertebra.training.record import (
    choice_lines,
    next_record,
    provenance,
    resolved,
    start_entry,
    start_lines,
    step_shape,
)
from vertebra.training.record_file import RECORD, write_record
from vertebra.training.report import write_run_report
from vertebra.training.resolved_config import ResolvedConfig
from vertebra.training.resuming import ResumableState, Resumption, check_data, consequences
from vertebra.training.run_state import EndRecord, record_end
from vertebra.training.saved_state import check_state
from vertebra.training.selection import lower_metrics, unmeasurable_notes
from vertebra.training.state_files import BEST, saved_states
from vertebra.training.step import TrainingModule
from vertebra.training.teacher import check_same_teacher, open_teacher
from vertebra.training.trainer import make_trainer, silence_lightning
from vertebra.training.user_transform import Transform, transform_note
from vertebra.weights.model_file import load_weights, write_calibration
from vertebra.weights.stored_calibration import clear_calibration, store_deciding_thresholds

FOLDER_VARIABLE = "VERTEBRA_RUN_FOLDER"
LOGGED_PICTURES = 4  # predictions that loggers get


class Finished(NamedTuple):
    """A run that has ended.

    Attributes:
        folder: of the run, with ``config.yaml``, ``model.safetensors`` (the best weights), ``last.ckpt`` and ``previous.ckpt``
            (to resume from), ``metrics.csv``, ``run.json`` and ``report.html``.
        model: with the best weights, in evaluation mode.
    """

    folder: Path
    model: VisionModel


@dataclass(frozen=True)
class _Prepared:
    """All that a run needs before its first step.

    Attributes:
        folder: callback that saves into the run folder.
        data: loaders of training and evaluation data.
        module: model, loss and optimizer.
        trainer: Lightning's trainer.
        record: content of ``run.json``.
        loggers: of the metrics.
    """

    folder: RunFolder
    data: RunData
    module: TrainingModule
    trainer: pl.Trainer
    record: dict[str, Any]
    loggers: RunLoggers


def run_training(
    config: ResolvedConfig,
    model: VisionModel,
    opened: Opened,
    val: Opened,
    folder: Path,
    choices: Sequence[Choice],
    resumption: Resumption | None,
    transform: Transform | None = None,
    callbacks: Sequence[pl.Callback] = (),
    first: FirstPlan | None = None,
) -> Finished:
    """Trains a built model, and writes the run folder.

    Args:
        config: complete: with classes, canvas and resize mode.
        model: is trained in place.
        opened: training data.
        val: evaluation data.
        folder: of the run.
        choices: the options that were chosen for a new run.
        resumption: None for a new run.
        transform: the user's own augmentation, if any.
        callbacks: Lightning's, called after those that save the run.
        first: of a new run with a budget of time.

    Raises:
        VertebraError: data, options or folder do not fit, or the run stopped.
    """
    origin = [] if resumption else [f"backbone: {_origin(config, model)}"]
    emit(*opening_notes(opened, val), *origin)
    run = _prepare(config, model, opened, val, folder, choices, resumption, transform, callbacks, first)
    clear_calibration(model)  # it does not hold for the new weights
    with run_folder_for(folder, config, run.record), warnings.catch_warnings():
        silence_lightning()
        _fit(run, str(resumption.state) if resumption else None)
    if not run.module.losses:
        _report_nothing_left(run, config)
    emit(*run.module.skipped_steps.notes(), *run.data.notes())
    if run.folder.kept.epoch is None:
        error = RunError(f"{folder}: no evaluation had weights that can be kept; lower train.lr, and train anew")
        record_end(folder, run.record, error)
        run.loggers.close("failed")
        raise error
    _take_best_weights(model, folder)
    model.provenance = {**model.provenance, "epoch": run.folder.kept.epoch}  # with a moving average, its copy has it
    if run.trainer.is_global_zero:
        write_record(folder, {**run.record, "kept": run.folder.kept.to_dict()})
        device = run.trainer.strategy.root_device
        thresholds = write_run_report(folder, model, opened, val, run.data, run.folder.kept, device)
        _keep_thresholds(model, folder, thresholds)
        if config.train.log:
            images = [source.index.path(row) for source in val.sources for row in range(len(source.index))]
            run.loggers.show(prediction_pictures(model, images, LOGGED_PICTURES), run.trainer.global_step)
        run.loggers.close()
        emit(f"{run.folder.kept.summary()}; run folder {folder}")
    return Finished(folder, model)


def opening_notes(opened: Opened, val: Opened) -> list[str]:
    """The notes of the readers: once what holds for both splits, and else with the split."""
    both = set(opened.notes) & set(val.notes)
    splits = [("train", note) for note in opened.notes] + [("val", note) for note in val.notes]
    return list(dict.fromkeys(note if note in both else f"{split}: {note}" for split, note in splits))


def _origin(config: Config, model: VisionModel) -> str:
    """Where the backbone's weights come from, in words."""
    if config.model.init_from is not None:
        return f"weights of {config.model.init_from}"
    backbone: Any = model.backbone
    return str(getattr(backbone, "origin", "")) or f"the weights that {type(backbone).__name__} came with"


def _prepare(
    config: ResolvedConfig,
    model: VisionModel,
    opened: Opened,
    val: Opened,
    folder: Path,
    choices: Sequence[Choice],
    resumption: Resumption | None,
    transform: Transform | None,
    callbacks: Sequence[pl.Callback],
    first: FirstPlan | None,
) -> _Prepared:
    """Checks data, options and saved state, prints what the run does, and builds its parts; see `run_training`."""
    recipe = config.train
    data = RunData(model, recipe, opened.sources, val.sources, transform)
    data.check_augment()
    emit(
        *transform_note(recipe),
        *unmeasurable_notes(model_info(model), data.val_set, recipe.monitor),
        *data.unmirrored(),
        *data.train_set.range_notes(),
        *([] if resumption else few_images_notes(model, data.train_set, config.model.init_from is not None)),
    )
    run_folder = RunFolder(folder, recipe.monitor, recipe.patience, recipe.save_every_minutes)
    fingerprints = {"train": fingerprint(opened.sources), "val": fingerprint(val.sources)}
    teacher = open_teacher(recipe, model)
    if resumption is not None:
        check_data(resumption, fingerprints, folder)
        check_same_teacher(resumption.saved.teacher, teacher)
    before = recipe if resumption is None else resumption.saved.config.train
    schedule_changed = (before.epochs, before.budget) != (recipe.epochs, recipe.budget)
    state = ResumableState(config, fingerprints, schedule_changed, None if teacher is None else teacher.identity)
    record: dict[str, Any] = {}
    loggers = RunLoggers(config, folder, record)
    run_folder.log_row = loggers.log_row
    steps, _ = step_shape(data, recipe, 1)
    keeper = budget_keeper(config, steps, first, changed=before.budget != recipe.budget)
    saving = [EndRecord(folder, record), SameChoices(recipe), ProgressDisplay(), loggers, run_folder, *keeper, state]
    trainer = make_trainer(recipe, [*saving, *callbacks], model)
    limit_torch(sharing=trainer.num_devices)
    emit(*data.open_cache(trainer.num_devices))
    steps, sizes = step_shape(data, recipe, trainer.world_size)
    check_single_images(model, min(sizes) // recipe.accumulate)
    values = resolved(config, model, data, trainer, teacher)
    changes: list[str] = []
    if resumption is not None:
        redrawn = redrawn_note(data.train_set, resumption.saved.config.train, recipe, trainer.world_size)
        changes = [*resumption.changes, *consequences(resumption, steps, values["precision"]), *redrawn]
    record.update(next_record(folder, fingerprints, start_entry(values, changes), choices))
    record["lower_is_better"] = [name for name in lower_metrics(model_info(model)) if not is_of_class(name)]
    model.provenance = provenance(record)
    module = TrainingModule(model.to(memory_format=torch.channels_last), recipe, values["pretrained"], teacher)  # type: ignore[call-overload]
    module.skipped_steps.folder = folder
    if resumption is not None:
        check_state(resumption.state, module, RunFolder.STATE)
    emit(*start_lines(config, model, values, {"train": len(data.train_set), "val": len(data.val_set)}))
    emit(*([] if teacher is None else teacher.lines(model)), *changes)
    emit(*choice_lines(choices))
    return _Prepared(run_folder, data, module, trainer, record, loggers)


def _fit(run: _Prepared, checkpoint: str | None) -> None:
    """Trains, from a checkpoint if there is one.

    Raises:
        RunStopped: a signal stopped the run.
    """
    folder, stop = run.folder.path, run.folder.stop
    try:
        with convert_worker_exits():
            run.trainer.fit(run.module, datamodule=run.data, ckpt_path=checkpoint, weights_only=True)
    except Interrupted:
        if not is_first_process():
            raise SystemExit(128 + stop.signal) from None  # the first process reports it
        message = f"stopped; everything is saved. Continue with: {_resume_command(folder)}"
        raise RunStopped(message, stop.signal) from None
    except StoppedBySignal as signal:
        raise RunStopped(f"stopped at once; {_saved(folder)}", signal.number) from None


def _report_nothing_left(run: _Prepared, config: ResolvedConfig) -> None:
    """Prints why a resumed run took no step, and keeps its weights if it has kept none."""
    out_of_patience = f"train.patience ({config.train.patience}) is used up"
    done = f"all {config.train.epochs} epochs are done" if config.train.budget is None else "train.budget is used up"
    reason = out_of_patience if run.folder.out_of_patience else done
    emit(f"nothing left to train: {reason}")
    if run.folder.kept.epoch is None:
        run.folder.keep_newest(run.trainer, run.module)


def _take_best_weights(model: VisionModel, folder: Path) -> None:
    """Loads the best weights of a run into the trained model, and sets it to evaluation mode."""
    path = folder / BEST
    if path.is_file():
        load_weights(model, path)
    else:  # this process runs on another machine
        emit(f"{path} is not on this machine, so the model here keeps its newest weights")
    model.eval()


def _keep_thresholds(model: VisionModel, folder: Path, thresholds: Mapping[str, ClassThresholds] | None) -> None:
    """Stores the thresholds of a finished run in its model and its file of the best weights.

    Args:
        thresholds: by branch; those of exclusive classes decide nothing and are left out.
    """
    store_deciding_thresholds(model, thresholds or {})
    if model.thresholds:
        write_calibration(model, folder / BEST)


def _saved(folder: Path) -> str:
    """How to continue a run that did not save when it stopped."""
    if saved_states(folder):
        return f"continue from the last save with: {_resume_command(folder)}"
    return "nothing was saved yet"


def _resume_command(folder: Path) -> str:
    return f"vertebra train --resume {shlex.quote(str(folder))}"


@contextmanager
def run_folder_for(folder: Path, config: ResolvedConfig, record: Mapping[str, Any]) -> Iterator[None]:
    """Makes the run folder with its config and record just before training; removes it if training ends before anything was
    saved.

    Raises:
        VertebraError: instead of an error of the engine that a user can fix.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        if is_first_process():
            with os_errors_as_run_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / CONFIG, synced=True) as part:
                part.write_text(config.to_yaml(), encoding="utf-8")
            write_record(folder, record)
            os.environ[FOLDER_VARIABLE] = str(folder)
        yield
    except BaseException as error:
        if is_first_process() and not saved_states(folder) and not (folder / BEST).exists():
            _remove_empty_run(folder, created)
        if not isinstance(error, Exception) or isinstance(error, RunStopped):
            raise
        resumable = bool(saved_states(folder))
        user_error = as_user_error(error, config.train, folder if resumable else None)
        if user_error is None:
            if resumable:
                emit(_saved(folder))
            raise
        raise user_error from error


def _remove_empty_run(folder: Path, created: Sequence[Path]) -> None:
    """Removes the files of a run that has saved nothing, and the folders that were made for it."""
    for name in (CONFIG, RECORD, METRICS, METRICS_BY_CLASS):
        (folder / name).unlink(missing_ok=True)
    for name in LOCAL_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for parent in created:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
