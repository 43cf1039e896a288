"""One training step: losses divided once, whatever the micro batches; frozen parts; parameter groups."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import vertebra
from tests.resolved import resolved_train
from vertebra.data.batches import Batch, BranchTargets
from vertebra.errors import RunError
from vertebra.recipe.lr_schedule import Cosine, lr_factor
from vertebra.tasks.classify.targets import ClassifyTargets
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.testing import fake_targets
from vertebra.training.ema import MovingAverage
from vertebra.training.parameter_groups import parameter_groups
from vertebra.training.step import TrainingModule, draw_seed


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def test_two_micro_batches_make_the_gradients_of_one_batch() -> None:
    """Without BatchNorm and dropout, whose work depends on the micro batch, they are the same: each term is divided by its
    count over the whole step, though the micro batches are unevenly labeled."""
    model = vertebra.create_model(
        "convnext_atto",
        branches={
            "animal": {"decoder": {"name": "linear", "dropout": 0.0}, "classes": ["a", "b", "c"]},
            "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["a", "b"]},
        },
        image_size=64,
    )
    module = TrainingModule(model, resolved_train(ema=None), pretrained=False)
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    classes = ClassifyTargets(torch.tensor([0, 1, 2, 1]))
    boxes = fake_targets(model.branch("boxes").labels, (64, 64), 3)

    def micro(rows: list[int], animal: list[int], objects: list[int]) -> Batch:
        """The images ``rows``; ``animal`` and ``objects`` say which labeled rows of the whole batch are among them."""
        targets = {}
        if animal:
            own = [[0, 1, 2, 3][number] for number in animal]
            targets["animal"] = BranchTargets(
                torch.tensor([rows.index(row) for row in own]), ClassifyTargets(classes.labels[animal])
            )
        if objects:
            own = [[3, 4, 5][number] for number in objects]
            targets["boxes"] = BranchTargets(
                torch.tensor([rows.index(row) for row in own]), DetectTargets(*(value[objects] for value in boxes[:4]))
            )
        return Batch(images[rows], torch.tensor([[64, 64]] * len(rows)), targets, [])

    def gradients(step: list[Batch]) -> dict[str, torch.Tensor]:
        module.zero_grad(set_to_none=True)
        counts = module._counts(step)
        for own in step:
            losses = module._divide(module._terms(own), counts)
            torch.stack(list(losses.values())).sum().backward()
        return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}

    whole = gradients([micro([0, 1, 2, 3, 4, 5], [0, 1, 2, 3], [0, 1, 2])])
    parts = gradients([micro([0, 1, 2], [0, 1, 2], []), micro([3, 4, 5], [3], [0, 1, 2])])
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)


def test_accumulation_runs_from_end_to_end(three_branches: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(three_branches)
    config["train"] |= {"epochs": 1, "batch_size": 6, "accumulate": 2}
    run = vertebra.train(config, out=tmp_path / "run")
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 3


def test_the_rate_rises_and_falls() -> None:
    rates = [lr_factor(step, 100, 0.1, Cosine()) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_norms_and_biases_are_spared_and_a_pretrained_backbone_learns_slower() -> None:
    model = vertebra.create_model("test_vit", decoder="linear", classes=["a", "b"], image_size=64)
    recipe = resolved_train(lr=1.0, backbone_lr=0.1, weight_decay=0.5)
    groups = parameter_groups(model.backbone, model, recipe, pretrained=True)
    found = {(group["lr"], group["weight_decay"]) for group in groups}
    assert found == {(0.1, 0.5), (0.1, 0.0), (1.0, 0.5), (1.0, 0.0)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    spared = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert "backbone.body.pos_embed" in spared and "backbone.body.cls_token" in spared
    assert all(
        model.get_parameter(name).ndim <= 1 for name in spared if "pos_embed" not in name and "token" not in name
    )
    assert {group["lr"] for group in parameter_groups(model.backbone, model, recipe, pretrained=False)} == {1.0}


def test_frozen_stages_do_not_move(three_branches: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(three_branches)
    config["model"]["backbone"] = {"name": "resnet10t", "freeze": 2}
    config["train"] |= {"epochs": 1, "ema": None}
    run = vertebra.train(config, out=tmp_path / "frozen")
    torch.manual_seed(0)
    fresh = vertebra.create_model(
        config["model"]["backbone"], branches={"a": {"decoder": "linear", "classes": ["a", "b"]}}
    )
    start = {name: value for name, value in fresh.state_dict().items() if name.startswith("backbone")}
    moved = {name.split(".")[3] for name, value in last_state(run).items()
             if name.startswith("model.backbone") and not torch.equal(value, start[name.removeprefix("model.")])}  # fmt: skip
    assert moved == {"layer2", "layer3", "layer4"}


def test_the_average_follows_slowly_and_copies_counters() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model.num_batches_tracked += 5
    average.update(model)
    keep = 2 / 11
    assert average.model.weight.tolist() == pytest.approx([keep * 1 + (1 - keep) * 3] * 2)
    assert int(average.model.num_batches_tracked) == 5


def test_seeds_mix_all_numbers() -> None:
    assert len({draw_seed(a, b) for a in range(10) for b in range(10)}) == 100
    assert draw_seed(1, 2) == draw_seed(1, 2)


@pytest.mark.parametrize(("scaler", "limit"), [(None, 5.0), (SimpleNamespace(get_scale=lambda: 1024.0), 5120.0)])
def test_float16_gradients_are_clipped_at_their_own_scale(scaler: Any, limit: float) -> None:
    model = vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"], image_size=(32, 32))
    module = TrainingModule(model, resolved_train(), pretrained=False)
    module._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for weight in module.parameters():
        weight.grad = torch.full_like(weight, 1e4)
    assert module._clip(optimizer)
    norms = torch.stack([weight.grad.norm() for weight in module.parameters()])
    assert float(norms.norm()) == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("clip_norm", [5.0, None])
@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_a_gradient_that_is_no_number_does_not_move_the_weights(
    clip_norm: float | None, three_branches: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = TrainingModule.manual_backward

    def broken(self: TrainingModule, loss: torch.Tensor, *given: Any) -> None:
        backward(self, loss, *given)
        next(value for value in self.parameters() if value.grad is not None).grad.fill_(float("nan"))

    monkeypatch.setattr(TrainingModule, "manual_backward", broken)
    with pytest.raises(RunError, match=r"the gradient was not finite in ten steps in a row"):
        recipe = {**three_branches["train"], "epochs": 3, "clip_norm": clip_norm}
        vertebra.train({**three_branches, "train": recipe}, out=tmp_path / "run")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_mixed_precision_trains_with_the_cut_and_the_fused_optimizer(
    optimizer: str, three_branches: dict[str, Any], tmp_path: Path
) -> None:
    train = {**three_branches["train"], "precision": "bf16-mixed", "optimizer": optimizer, "lr": 1e-3, "epochs": 1}
    train["image_size"] = [48, 160]  # no level of the pyramid is one column wide, see `choose_precision`
    assert resolved_train(**train).clip_norm is not None
    run = vertebra.train({**three_branches, "train": train}, out=tmp_path / "run")
    state = last_state(run)
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_the_loss_of_training_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes without gradients are not, for they would be compiled anew."""
    calls = []

    def compile(function: Any) -> Any:
        def compiled(*arguments: Any) -> Any:
            calls.append(function)
            return function(*arguments)

        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    model = vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"], image_size=32)
    module = TrainingModule(model, resolved_train(ema=None, compile=True), pretrained=False)
    targets = {"classify": BranchTargets(torch.arange(2), ClassifyTargets(torch.tensor([0, 1])))}
    batch = Batch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.tensor([[32, 32]] * 2), targets, [])
    module._terms(batch)
    module._counts([batch, batch])
    assert calls == [model.loss]
