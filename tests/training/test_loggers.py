"""Metrics for TensorBoard and its like: the names and steps of ``metrics.csv``, once, also after a run was resumed."""

from __future__ import annotations

import copy
import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers.logger import Logger

import vertebra
from vertebra.errors import ConfigError, RunStopped
from vertebra.training import execution, loggers
from vertebra.training.folder import RunFolder
from vertebra.training.loggers import LoggerKind, check_loggers


class Service:
    """A service that keeps what it gets, by the id of the run."""

    def __init__(self) -> None:
        self.events: dict[str, list[Any]] = {}
        self.broken = False


class ServiceLogger(Logger):
    """A logger of a service, as Lightning has them."""

    name, version = "service", 0

    def __init__(self, service: Service, run_id: str) -> None:
        self.events = service.events.setdefault(run_id, [])
        self.service, self.run_id = service, run_id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.service.broken:
            raise OSError("no route to host")
        self.events.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.events.append(("options", params))

    def finalize(self, status: str) -> None:
        self.events.append(status)


@pytest.fixture(autouse=True)
def _no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "write_run_report", lambda *_: None)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Takes the role of Weights & Biases."""
    service = Service()
    kind = LoggerKind(
        package="json",
        create=lambda folder, run_id: ServiceLogger(service, run_id or f"id{len(service.events)}"),
        run_id=lambda logger: logger.run_id,
        close=lambda logger, status: logger.finalize(status),
    )
    monkeypatch.setitem(loggers.LOGGERS, "wandb", kind)
    return service


@pytest.fixture(scope="session")
def animals(three_branches: dict[str, Any]) -> dict[str, Any]:
    """A config of one step an epoch for classes alone."""
    config = copy.deepcopy(three_branches)
    config["data"]["train"] = config["data"]["train"][:1]
    config["model"] = {"backbone": "mobilenetv2_035", "branches": {"animal": config["model"]["branches"]["animal"]}}
    config["train"] |= {"log": "wandb", "batch_size": 12, "image_size": [32, 32]}
    return config


def table(run: Any) -> list[dict[str, float]]:
    with (Path(run) / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_run_that_was_stopped_and_resumed_is_one_run_at_the_service(
    animals: dict[str, Any], service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = RunFolder.on_train_batch_end

    def stop(self: RunFolder, trainer: Any, *arguments: Any) -> None:
        self.stop.number = signal.SIGINT if trainer.current_epoch == 0 else None
        original(self, trainer, *arguments)

    with monkeypatch.context() as patch, pytest.raises(RunStopped):
        patch.setattr(RunFolder, "on_train_batch_end", stop)
        vertebra.train(animals, out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["starts"][0]["end"] == {"state": "stopped"}
    (events,) = service.events.values()
    assert events[-1] == "failed" and [event[0] for event in events[:-1]] == ["options", 1]
    run = vertebra.resume(tmp_path / "run")
    assert list(service.events) == ["id0"]
    assert [event if isinstance(event, str) else event[0] for event in events] == ["options", 1, "failed", 2, "success"]
    rows = table(run)
    for row, (step, metrics) in zip(rows, (events[1], events[3]), strict=True):
        assert metrics == pytest.approx({name: value for name, value in row.items() if name != "step"})
        assert step == row["step"]
    assert events[0][1]["train"]["epochs"] == 2 and "animal/class/dog" not in rows[0]


def test_a_service_that_fails_does_not_end_the_run(
    animals: dict[str, Any], service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.broken = True
    run = vertebra.train(animals, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("train.log: wandb could not log metrics (OSError: no route to host); training continues") == 1
    assert run.epoch is not None and service.events["id0"][-1] == "success"


def test_a_service_that_cannot_start_ends_the_run_before_its_first_step(
    animals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, run_id: str | None) -> Any:
        (folder / "wandb").mkdir()
        raise PermissionError("no API key")

    monkeypatch.setitem(loggers.LOGGERS, "wandb", loggers.LOGGERS["wandb"]._replace(create=refuse, package="json"))
    with pytest.raises(
        ConfigError, match=r"^train\.log: wandb cannot start \(PermissionError: no API key\); leave it out"
    ):
        vertebra.train(animals, out=tmp_path / "runs" / "run")
    assert not (tmp_path / "runs").exists(), "nothing is left of it"


def test_a_missing_package_is_one_line_with_its_cure(
    animals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs_of_old").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("not_there", "logs_of_old"):  # a folder of logs is no package
        monkeypatch.setitem(loggers.LOGGERS, "wandb", loggers.LOGGERS["wandb"]._replace(package=package))
        with pytest.raises(ConfigError) as error:
            vertebra.train({**animals, "data": str(tmp_path / "nothing is read before")})
        assert str(error.value) == (
            f"train.log: wandb needs the package '{package}', which is not installed; install it: pip install '.[wandb]' in "
            "a checkout of Vertebra"
        )
    with pytest.raises(ConfigError, match=r"train\.log"):
        vertebra.train({**animals, "train": {"log": ["tensorbored"]}})


def test_tensorboard_has_metrics_config_and_predictions(animals: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    check_loggers(["tensorboard"])
    config = copy.deepcopy(animals)
    config["train"] |= {"log": ["tensorboard"], "epochs": 1}
    run = vertebra.train(config, out=tmp_path / "run")
    run = vertebra.resume(run, epochs=2)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    rows = table(run)
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}
    accuracy = [(event.step, event.value) for event in events.Scalars("animal/accuracy")]
    assert accuracy == [(row["step"], pytest.approx(row["animal/accuracy"])) for row in rows]
    assert len(events.Tags()["images"]) == 4
    (text,) = events.Tensors("config/text_summary")
    assert b"mobilenetv2_035" in text.tensor_proto.string_val[0]
