"""A run with a budget of time ends on time under a fake clock, plans from what it measures, and continues with what is left."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import vertebra
from vertebra.config import TrainConfig
from vertebra.demo.animals import ANIMALS
from vertebra.errors import ConfigError, RunError
from vertebra.recipe import choices
from vertebra.recipe.budget import Costs, Epochs
from vertebra.training import budget, budget_choices, execution, step_costs
from vertebra.training.budget import BudgetKeeper, FirstPlan
from vertebra.training.step import TrainingModule
from vertebra.weights.model_file import write

COSTS = Costs(step=1.0, frozen_step=0.5, evaluation=5.0, save=2.0)
EPOCHS = Epochs(steps=20, every=2)


class Simulation:
    """The loop of the engine around a keeper, with a clock that the parts of a run move on."""

    def __init__(self, keeper: Any, costs: Costs, frozen: float = 0.0) -> None:
        self.keeper, self.costs, self.frozen = keeper, costs, frozen
        self.module: Any = object.__new__(TrainingModule)
        object.__setattr__(self.module, "plan", None)
        self.trainer: Any = SimpleNamespace(
            global_step=keeper.step,
            current_epoch=keeper.step // EPOCHS.steps,
            fit_loop=SimpleNamespace(max_epochs=0),
            should_stop=False,
            check_val_every_n_epoch=0,
        )

    def run(self, clock: list[float], stop_at: int | None = None) -> None:
        """Trains to the end, or to a step."""
        keeper, trainer = self.keeper, self.trainer
        keeper.setup(trainer, self.module, "fit")
        keeper.on_fit_start(trainer, self.module)
        keeper.on_train_start(trainer, self.module)
        while trainer.current_epoch < trainer.fit_loop.max_epochs and not trainer.should_stop:
            keeper.on_train_epoch_start(trainer, self.module)
            last = trainer.current_epoch + 1 == trainer.fit_loop.max_epochs
            trainer.check_val_every_n_epoch = 1 if last else EPOCHS.every
            for batch in range(trainer.global_step % EPOCHS.steps, EPOCHS.steps):
                frozen = keeper.plan.schedule_step(trainer.global_step) < int(self.frozen * keeper.plan.first)
                clock[0] += self.costs.frozen_step if frozen else self.costs.step
                trainer.global_step += 1
                keeper.on_train_batch_end(trainer, self.module, None, None, batch)
                if trainer.global_step == stop_at:
                    return
                if trainer.should_stop:
                    break
            if (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0:
                keeper.on_validation_start(trainer, self.module)
                clock[0] += self.costs.evaluation
                keeper.on_validation_end(trainer, self.module)
            clock[0] += self.costs.save
            trainer.current_epoch += 1


def keeper_with(
    clock: list[float], seconds: float, steps: int, frozen: float = 0.0, limit: int = 10_000
) -> BudgetKeeper:
    first = FirstPlan(steps, limit, COSTS, began=clock[0])
    return BudgetKeeper(seconds, EPOCHS, frozen, first, clock=lambda: clock[0])


@pytest.mark.parametrize("steps", [50, 400, 3_000])  # the first plan: too short, about right, too long
@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_a_run_ends_on_time_whatever_was_planned(steps: int, speed: float) -> None:
    clock = [100.0]
    keeper = keeper_with(clock, 600, steps)
    Simulation(keeper, Costs(speed, speed, 5 * speed, 2 * speed)).run(clock)
    assert 0.9 * 600 < clock[0] - 100 <= 600
    assert keeper.plan.schedule_step(keeper.step) == keeper.plan.first  # the learning rate has reached its end
    assert keeper.step == keeper.plan.total and len(keeper.plan.changes) < 100


def test_a_run_that_has_its_steps_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    keeper = keeper_with(clock, 10_000, 100, limit=100)
    Simulation(keeper, COSTS).run(clock)
    assert keeper.step == 100 and keeper.plan.changes == [] and capsys.readouterr().err == ""


def test_steps_with_a_frozen_backbone_are_counted_as_what_they_cost() -> None:
    clock = [0.0]
    keeper = keeper_with(clock, 600, 600, frozen=0.5)
    Simulation(keeper, COSTS, frozen=0.5).run(clock)
    assert 560 < clock[0] <= 600 and keeper.costs.step == pytest.approx(1.0, rel=0.02)
    assert all(abs(total - 600) < 60 for _, total in keeper.plan.changes)


def test_the_first_step_of_each_kind_does_not_count() -> None:
    clock = [0.0]
    keeper = keeper_with(clock, 60_000, 600, frozen=0.01, limit=600)
    keeper.on_train_start(Simulation(keeper, COSTS).trainer, None)
    for step, seconds in enumerate((60.0, *[0.5] * 5, 90.0, 1.0), start=1):  # both kinds are compiled
        clock[0] += seconds
        trainer: Any = SimpleNamespace(global_step=step, current_epoch=0, fit_loop=SimpleNamespace(), should_stop=False)
        keeper.on_train_batch_end(trainer, None, None, None, step - 1)
    assert (keeper.costs.frozen_step, keeper.costs.step) == (0.5, 1.0)


def test_a_resumed_run_has_the_time_that_was_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    before = keeper_with(clock, 600, 430)
    Simulation(before, COSTS).run(clock, stop_at=130)
    state, used = json.loads(json.dumps(before.state_dict())), clock[0]
    clock[0] = 50_000.0
    after = BudgetKeeper(600, EPOCHS, 0.0, None, clock=lambda: clock[0])
    after.load_state_dict(state)
    slow = Simulation(after, Costs(2.0, 2.0, 10.0, 4.0))  # another machine
    slow.run(clock)
    assert after.step < 430 and 0.95 * 600 < used + clock[0] - 50_000 <= 600
    assert "s used after" in capsys.readouterr().err
    finished = BudgetKeeper(600, EPOCHS, 0.0, None, clock=lambda: clock[0])
    finished.load_state_dict(after.state_dict())
    again = Simulation(finished, COSTS)
    again.run(clock)
    assert again.trainer.global_step == after.step  # nothing is left
    longer = BudgetKeeper(900, EPOCHS, 0.0, None, changed=True, clock=lambda: clock[0])
    longer.load_state_dict(after.state_dict())
    assert longer.elapsed < 610
    assert longer.plan.total > after.step and longer.plan.schedule_step(after.step) == after.step


@pytest.fixture
def animals(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A config on twelve images, six to a step, which need a few steps."""
    monkeypatch.setattr(choices, "MIN_STEPS", 2)
    monkeypatch.setattr(choices, "STEPS_PER_ROOT", 0)
    monkeypatch.setattr(choices, "MIN_EPOCHS", ((1000, 1),))
    monkeypatch.setattr(step_costs, "MAX_TIMED", 1)
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)
    data = {"path": str(scenes / "animals"), "check": False}
    train = {"workers": 0, "precision": "32", "ema": None, "budget": "1h"}
    return {"data": data, "model": {"backbone": "resnet10t", "decoder": "linear"}, "train": train}


def test_a_run_with_time_takes_more_steps_and_resumes(
    animals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = vertebra.create_model("resnet10t", decoder="linear", classes=list(ANIMALS), image_size=[32, 64])
    animals["train"] |= {"image_size": [32, 64], "teacher": str(write(teacher, tmp_path / "teacher.safetensors"))}
    loss, taught = step_costs.total_loss, []
    monkeypatch.setattr(step_costs, "total_loss", lambda *given: taught.append(given[2].source) or loss(*given))
    run = vertebra.train(animals, out=tmp_path / "run")
    assert set(taught) == {animals["train"]["teacher"]}, "the teacher is a part of what steps take"
    record = json.loads((run / "run.json").read_text())
    values = {choice["option"]: choice["value"] for choice in record["choices"]}
    assert (values["budget"], values["epochs"], values["batch_size"]) == ("1h", 3, 8)
    printed = capsys.readouterr().err
    assert "chosen: budget 1h: a step takes " in printed
    assert "chosen: epochs 3: 6 steps, where 2 are needed; no more than the 6 of recipe 'best'" in printed
    assert len(run.history) == 3 and run.history[-1]["step"] == 6
    vertebra.resume(run.folder)
    assert "nothing left to train: train.budget is used up" in capsys.readouterr().err
    for changes, error in (
        ({"budget": None}, "none can be added or removed"),
        ({"epochs": 20}, "change train.budget instead"),
    ):
        with pytest.raises(RunError, match=error):
            vertebra.resume(run.folder, **changes)


def test_a_short_budget_takes_a_smaller_canvas_and_cuts_an_epoch(
    animals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    canvases = []

    def measured(model: Any, *given: Any) -> Costs:
        canvases.append(model.resize_spec.size)
        step = 700.0 if len(canvases) == 1 else 800.0
        return Costs(step, step, 300.0)

    animals["train"]["epochs"] = 3
    with monkeypatch.context() as patch:
        patch.setattr(budget_choices, "measure_costs", measured)
        patch.setattr(budget, "TOLERANCE", 1000)  # the plan is kept
        run = vertebra.train(animals, out=tmp_path / "run")
    assert canvases == [(224, 224), (160, 160)]
    printed = capsys.readouterr().err
    assert "chosen: image_size 160x160: at 224x224 only 4 of 6 needed steps fit into the budget" in printed
    assert "chosen: epochs 2: 3 steps, where 6 are needed; more do not fit into the budget; an epoch has 2" in printed
    config = yaml.safe_load((run / "config.yaml").read_text())["train"]
    assert (config["image_size"], config["epochs"]) == ([160, 160], 2)
    assert run.history[-1]["step"] == 3 and "classify/accuracy" in run.history[-1]
    assert run.history[-1]["lr"] == pytest.approx(1e-5)  # the end of the schedule
    longer = vertebra.resume(run.folder, budget="2h")
    assert "train.budget: 1h -> 2h" in capsys.readouterr().err
    assert longer.history[2]["lr"] > 1e-4 and longer.history[-1]["lr"] == pytest.approx(1e-5)
    assert [row["step"] for row in longer.history] == [2, 3, 5, 6]  # the rest of the second epoch is left out


def test_what_a_budget_refuses(animals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="train.budget: 'soon' is no duration; write 20m"):
        vertebra.train(animals | {"train": {"budget": "soon"}}, out=tmp_path / "run")
    monkeypatch.setattr(budget_choices, "measure_costs", lambda *given: Costs(3000.0, 3000.0, 3000.0))
    animals["train"]["image_size"] = [32, 64]
    with pytest.raises(
        ConfigError, match=r"1 h 00 min are too short for one step and its evaluation; give at least 66\d\ds"
    ):
        vertebra.train(animals, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="train.budget: 2 processes would each measure other times"):
        vertebra.train(
            animals | {"train": animals["train"] | {"devices": 2, "accelerator": "cpu"}}, out=tmp_path / "run"
        )
    assert TrainConfig().budget is None and not (tmp_path / "run").exists()
