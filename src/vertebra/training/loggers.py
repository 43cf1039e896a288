"""Metrics for TensorBoard, Weights & Biases and MLflow, through Lightning's loggers.

Each epoch, they get the row of ``metrics.csv``, with the names of its columns, at the number of steps. Only the first process of a
run has them. A logger that fails within a run does not end it.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
from PIL import Image

from vertebra.config import Config
from vertebra.errors import ConfigError, first_line, install_command, shortened
from vertebra.messages import emit
from vertebra.training.metrics_table import is_of_class
from vertebra.training.record_file import write_record

TENSORBOARD = "tensorboard"  # the folder of its files within a run folder
WANDB = "wandb"
LOCAL_FOLDERS = (TENSORBOARD, WANDB)
PROJECT = "vertebra"


class LoggerKind(NamedTuple):
    """A kind of logger.

    Attributes:
        package: the module that it needs.
        create: returns Lightning's logger for a run folder and the id of the run at the service (None for a new run), started.
        run_id: the id of a logger's run at the service, to continue it after the run was resumed; None if there is no service.
        close: ends it, with a status of Lightning: "success" or "failed".
    """

    package: str
    create: Callable[[Path, str | None], Any]
    run_id: Callable[[Any], str | None]
    close: Callable[[Any, str], None]


def _tensorboard(folder: Path, run_id: str | None) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    return _started(TensorBoardLogger(folder, name="", version=TENSORBOARD, default_hp_metric=False))


def _wandb(folder: Path, run_id: str | None) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return _started(WandbLogger(folder.name, folder, id=run_id or secrets.token_hex(4), project=project))


def _close_wandb(logger: Any, status: str) -> None:
    logger.finalize(status)
    logger.experiment.finish(
        exit_code=int(status != "success")
    )  # else the next run in this process would be added to it


def _mlflow(folder: Path, run_id: str | None) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute().parent / 'mlflow.db'}"
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    return _started(MLFlowLogger(experiment, run_name=folder.name, tracking_uri=uri, run_id=run_id))


def _started(logger: Any) -> Any:
    _ = logger.experiment  # starts it, so that what is wrong with a service comes out before training
    return logger


def _finalize(logger: Any, status: str) -> None:
    logger.finalize(status)


LOGGERS = {
    "tensorboard": LoggerKind("tensorboard", _tensorboard, lambda logger: None, _finalize),
    "wandb": LoggerKind("wandb", _wandb, lambda logger: str(logger.experiment.id), _close_wandb),
    "mlflow": LoggerKind("mlflow", _mlflow, lambda logger: str(logger.run_id), _finalize),
}


def check_loggers(names: Sequence[str]) -> None:
    """Checks that the packages of loggers are installed.

    Raises:
        ConfigError: one is missing.
    """
    for name in names:
        package = LOGGERS[name].package
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:  # without an origin it is a folder of that name, such as one of logs
            raise ConfigError(
                f"train.log: {name} needs the package '{package}', which is not installed; install it: {install_command(name)}"
            )


class RunLoggers(pl.Callback):
    """The loggers of a run.

    Args:
        config: of the run; ``train.log`` names the loggers, and new runs are logged with all options.
        folder: the run folder.
        record: content of its ``run.json``, which gets the ids of the run at the services.
    """

    def __init__(self, config: Config, folder: Path, record: dict[str, Any]) -> None:
        self.config = config
        self.folder = folder
        self.record = record
        self.loggers: dict[str, Any] = {}
        self._failed: set[str] = set()

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Starts the loggers, in the first process.

        Raises:
            ConfigError: one cannot start.
        """
        if not trainer.is_global_zero:
            return
        ids: dict[str, str] = self.record.get("log", {})
        for name in dict.fromkeys(self.config.train.log):
            try:
                self.loggers[name] = logger = LOGGERS[name].create(self.folder, ids.get(name))
                if name not in ids:  # a service does not take other values of options of a run that it knows
                    self._log_options(name, logger)
                ids[name] = LOGGERS[name].run_id(logger) or self.folder.name
            except Exception as error:
                raise ConfigError(
                    f"train.log: {name} cannot start ({_problem(error)}); leave it out, or fix it and try again"
                ) from error
        if self.loggers:
            self.record["log"] = ids
            write_record(self.folder, self.record)

    def _log_options(self, name: str, logger: Any) -> None:
        logger.log_hyperparams(self.config.model_dump(mode="json"))
        if name == TENSORBOARD:  # its table of options needs final metrics; a text has the whole config
            text = self.config.to_yaml().replace("\n", "\n    ")
            logger.experiment.add_text("config", f"    {text}")

    def log_row(self, row: Mapping[str, float]) -> None:
        """Logs a row of ``metrics.csv``; metrics of single classes are left out, as there."""
        numbers = {name: value for name, value in row.items() if name != "step" and not is_of_class(name)}
        self._each("log metrics", lambda logger: logger.log_metrics(numbers, step=int(row["step"])))

    def show(self, pictures: Sequence[Image.Image], step: int) -> None:
        """Adds predictions to TensorBoard.

        Args:
            pictures: of predictions.
            step: number of steps so far.
        """

        def add(logger: Any) -> None:
            for number, picture in enumerate(pictures, start=1):
                image = np.asarray(picture.convert("RGB"))
                logger.experiment.add_image(f"predictions/{number}", image, step, dataformats="HWC")

        self._each("show predictions", add, [TENSORBOARD])

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.close("failed")

    def close(self, status: str = "success") -> None:
        """Ends all loggers.

        Args:
            status: "success" or "failed".
        """
        for name in list(self.loggers):
            self._each("end", _closing(LOGGERS[name], status), [name])
            del self.loggers[name]

    def _each(self, action: str, call: Callable[[Any], None], names: Sequence[str] | None = None) -> None:
        """Calls loggers; an error of one is printed, only the first time, and does not end the run."""
        for name, logger in self.loggers.items():
            if names is not None and name not in names:
                continue
            try:
                call(logger)
            except Exception as error:  # of any kind: a service that cannot be reached, a full disk
                if name not in self._failed:
                    emit(f"train.log: {name} could not {action} ({_problem(error)}); training continues")
                self._failed.add(name)


def _closing(kind: LoggerKind, status: str) -> Callable[[Any], None]:
    return lambda logger: kind.close(logger, status)


def _problem(error: Exception) -> str:
    return shortened(f"{type(error).__name__}: {first_line(error)}", 200)
