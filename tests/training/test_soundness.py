"""What must not ruin a run: a step that overflows, scores that are none, images that vanish, a damaged state."""

from __future__ import annotations

import copy
import csv
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import vertebra
from tests.resolved import resolved_train
from vertebra.errors import DataError, RunError
from vertebra.evaluation.measure import Evaluation
from vertebra.training import run as running
from vertebra.training.buffers import BufferBackup
from vertebra.training.folder import RunFolder
from vertebra.training.step import TrainingModule


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of two classes of dark and light images that takes seconds."""
    root, draw = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 3)):
        for name, low in (("dark", 0), ("light", 128)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(low, low + 127, (32, 32, 3), dtype=np.uint8)).save(
                    folder / f"{name}{number}.png"
                )
    return {
        "data": str(root),
        "model": {"backbone": "test_resnet", "decoder": "linear"},
        "train": {"epochs": 2, "batch_size": 4, "image_size": 32, "workers": 0, "precision": "32", "augment": "none"},
    }


def with_train(config: dict[str, Any], **train: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    changed["train"] |= train
    return changed


def overflow_once(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """One step's images are infinite once they are normalized: what fp16 does to a large activation."""
    original = TrainingModule._terms

    def terms(self: TrainingModule, micro: Any) -> Any:
        if self.global_step != at or not self.model.training or self.skipped_steps.counts:
            return original(self, micro)
        first = next(part for part in self.model.backbone.modules() if isinstance(part, nn.Conv2d))
        handle = first.register_forward_hook(lambda module, given, out: out * float("inf"))
        found = original(self, micro)
        handle.remove()
        return found

    monkeypatch.setattr(TrainingModule, "_terms", terms)


def test_a_step_that_overflows_leaves_nothing_behind(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overflow_once(monkeypatch, 1)
    run = vertebra.train(with_train(small, epochs=2), out=tmp_path / "run")
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert all(bool(value.isfinite().all()) for value in state["state_dict"].values()), "the average's statistics too"
    assert all(bool(value.isfinite().all()) for value in load_file(run / "model.safetensors").values())
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    said = capsys.readouterr().err
    assert "step 2: the loss classify/cross_entropy was not finite, so the step is not taken" in said
    assert "1 step was not taken: the loss classify/cross_entropy was not finite" in said


def test_buffers_are_put_back_to_the_bit() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model(torch.randn(4, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    backup = BufferBackup(model)
    backup.save()
    size = backup.size()
    assert size is not None and bool(size.isfinite()) and len(backup.buffers) == 6
    model(torch.full((4, 3), float("inf")))
    size = backup.size()
    assert size is not None and not bool(size.isfinite())
    backup.restore()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_statistics_that_overflow_beside_a_finite_loss_are_a_skipped_step(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backward = TrainingModule.manual_backward

    def overflowing(self: TrainingModule, loss: Tensor, *given: Any) -> None:
        backward(self, loss, *given)
        if self.global_step == 1 and not self.skipped_steps.counts:
            norm = next(part for part in self.model.modules() if isinstance(part, nn.BatchNorm2d))
            assert norm.running_var is not None
            norm.running_var.fill_(torch.inf)

    monkeypatch.setattr(TrainingModule, "manual_backward", overflowing)
    run = vertebra.train(with_train(small, epochs=1), out=tmp_path / "run")
    assert "step 2: a running statistic was not finite" in capsys.readouterr().err
    assert all(bool(value.isfinite().all()) for value in load_file(run / "model.safetensors").values())


def test_a_float16_gradient_that_never_is_a_number_is_told() -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(32, 32))
    module = TrainingModule(model, resolved_train(clip_norm=None), pretrained=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for weight in module.parameters():
        weight.grad = torch.full_like(weight, float("nan"))
    for scale, passed in (
        (1024.0, True),
        (0.5, False),
    ):  # above 1 the scaler itself skips the step and lowers the scale
        scaler = SimpleNamespace(get_scale=lambda scale=scale: scale)
        module._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))  # type: ignore[assignment]
        assert module._clip(optimizer) is passed


def test_a_run_keeps_the_lowest_loss_and_says_its_value(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three evaluations, whose losses are made 0.5, 0.25 and 1: the second one's weights are kept, shown and labeled."""
    losses, compute = iter((0.5, 0.25, 1.0)), Evaluation.compute

    def made(self: Evaluation) -> dict[str, float]:
        return compute(self) | {"classify/loss": next(losses)}

    monkeypatch.setattr(Evaluation, "compute", made)
    run = vertebra.train(with_train(small, epochs=3, monitor="classify/loss", ema=None), out=tmp_path / "run")
    assert "best classify/loss 0.2500 (epoch 2, lower is better); run folder" in capsys.readouterr().err
    page = (run / "report.html").read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(r"val, kept weights \(epoch 2\)\s+val, last evaluation \(epoch 3\)", text)
    assert re.search(r"classify/loss \(selected the weights\)\s+0.2500\s+1.0000\s+lower", text)
    assert "model.safetensors holds the weights of epoch 2, which had the lowest classify/loss." in page


def test_a_validation_set_without_objects(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    for split in ("train", "val"):
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "square"}]}
        for number in range(3):
            file = f"{split}{number}.png"
            (root / "annotations").mkdir(parents=True, exist_ok=True)
            (root / split).mkdir(exist_ok=True)
            Image.new("RGB", (64, 64), (200, 10 * number, 7 * len(split))).save(root / split / file)
            content["images"].append({"id": number, "file_name": file, "width": 64, "height": 64})
            if split == "train":
                box = {"id": number + 1, "image_id": number, "category_id": 1, "bbox": [8, 8, 20, 20], "area": 400}
                content["annotations"].append({**box, "iscrowd": 0})
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    model = {"backbone": "test_resnet", "neck": "fpn", "decoder": "retinanet"}
    train = {"epochs": 2, "batch_size": 3, "image_size": 64, "workers": 0, "precision": "32"}
    run = vertebra.train({"data": str(root), "model": model, "train": train}, out=tmp_path / "run")
    said = capsys.readouterr().err
    before, _, after = said.partition("epoch 1")
    assert "no image has anything labeled for branch 'detect' to find" in before
    assert "no score could be measured; the newest weights are kept" in after
    assert "kept the weights of epoch 2 (no evaluation had a score)" in after and "None" not in said
    assert {"last.ckpt", "model.safetensors", "report.html"} <= {path.name for path in run.folder.iterdir()}


@pytest.mark.parametrize("gone", ["val", "train"])
def test_an_image_that_vanishes_is_counted_and_the_run_goes_on(
    gone: str,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied = copied_data(small, tmp_path)
    lost = Path(copied["data"]) / gone / "dark" / "dark0.png"
    original = RunFolder.on_train_epoch_end

    def vanish(self: RunFolder, *arguments: Any) -> None:
        original(self, *arguments)
        lost.unlink(missing_ok=True)

    monkeypatch.setattr(RunFolder, "on_train_epoch_end", vanish)
    run = vertebra.train(copied, out=tmp_path / "run")
    done = {"val": "left out", "train": "replaced by others"}[gone]
    assert f"1 image that could not be used was {done}: dark0.png" in capsys.readouterr().err
    page = (run / "report.html").read_text()
    assert ("val: 5 images" if gone == "val" else "val: 6 images") in page or "val: 5 of 6 images" in page


def test_too_many_images_that_vanish_are_an_error(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = copied_data(small, tmp_path)
    original = RunFolder.on_train_epoch_end

    def vanish(self: RunFolder, *arguments: Any) -> None:
        original(self, *arguments)
        for file in (Path(copied["data"]) / "val" / "dark").glob("*.png"):
            file.unlink()

    monkeypatch.setattr(RunFolder, "on_train_epoch_end", vanish)
    with pytest.raises(DataError, match="3 of 6 images cannot be used, too many to continue; the first: .*dark0.png"):
        vertebra.train(copied, out=tmp_path / "run")
    assert {"last.ckpt", "model.safetensors"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_what_was_trained_before_an_error_is_kept(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first evaluation fails: the epoch before it is not lost."""
    copied = copied_data(small, tmp_path)
    original = RunFolder.on_train_start

    def vanish(self: RunFolder, *arguments: Any) -> None:
        original(self, *arguments)
        for file in (Path(copied["data"]) / "val").rglob("*.png"):
            file.unlink()

    monkeypatch.setattr(RunFolder, "on_train_start", vanish)
    with pytest.raises(DataError, match="too many to continue"):
        vertebra.train(copied, out=tmp_path / "run")
    assert "holds the weights after 2 steps, which were not evaluated" in capsys.readouterr().err
    vertebra.load(tmp_path / "run")


def copied_data(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    import shutil

    shutil.copytree(config["data"], folder / "copied")
    return {**config, "data": str(folder / "copied")}


class Runs:
    """Unpickling this would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.fixture(scope="module")
def done(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vertebra.train(with_train(small, epochs=1), out=tmp_path_factory.mktemp("done") / "run").folder


def damage(state: Path, how: str, target: Path) -> None:
    whole = state.read_bytes()
    loaded = torch.load(state, weights_only=True)
    if how == "empty":
        state.write_bytes(b"")
    elif how == "cut off":
        state.write_bytes(whole[: len(whole) // 2])
    elif how == "a bit":
        weight = next(value for value in loaded["state_dict"].values() if value.ndim == 1)
        place = whole.index(weight.numpy().tobytes())
        state.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
    elif how == "huge":  # a tensor of 64 GB in 4 bytes
        torch.save({**loaded, "optimizer_states": [{"state": {0: torch.zeros(1).expand(1 << 34)}}]}, state)
    elif how == "text":
        state.write_bytes(b"<!doctype html>" + b"x" * 999)
    elif how == "pickle":
        state.write_bytes(pickle.dumps({"state_dict": Runs(target)}))
    elif how == "pickle in a zip":
        torch.save({**loaded, "extra": Runs(target)}, state)
    elif how == "a tensor":
        torch.save(torch.zeros(3), state)
    elif how == "other parts":
        torch.save({"state_dict": loaded["state_dict"]}, state)
    elif how == "other architecture":
        torch.save(
            {**loaded, "state_dict": {f"other.{name}": value for name, value in loaded["state_dict"].items()}}, state
        )
    else:
        shapes: dict[str, Tensor] = {name: value.new_zeros(7, 7) for name, value in loaded["state_dict"].items()}
        torch.save({**loaded, "state_dict": shapes}, state)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "cut off or damaged; start a new run from the best weights so far: --from .*model.safetensors"),
        ("cut off", "cut off or damaged"),
        ("a bit", "cut off or damaged"),
        ("huge", "cut off or damaged"),
        ("text", "cut off or damaged"),
        ("pickle", "holds more than plain values, and nothing in a file is executed|cut off or damaged"),
        ("pickle in a zip", "holds more than plain values, and nothing in a file is executed"),
        ("a tensor", "cut off or damaged"),
        ("other parts", "not the state of a run of this version of Vertebra .without optimizer_states"),
        ("other architecture", "its tensors are not those of the model in config.yaml: .* missing .* left over"),
        ("other shapes", "its tensors are not those of the model in config.yaml: .* of another shape"),
    ],
)
def test_a_damaged_state_is_one_line(how: str, message: str, done: Path, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(done, tmp_path / "run")
    (run / "previous.ckpt").unlink()
    damage(run / "last.ckpt", how, tmp_path / "executed")
    with pytest.raises(RunError, match=message) as refused:
        running.resume_run(run)
    text = str(refused.value)
    assert text.startswith(str(run / "last.ckpt")) and "\n" not in text and "weights_only" not in text
    assert not (tmp_path / "executed").exists()


def test_a_run_whose_best_weights_were_deleted_keeps_the_newest(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    run = shutil.copytree(done, tmp_path / "run")
    (run / "model.safetensors").unlink()
    running.resume_run(run)
    said = capsys.readouterr().err
    assert (
        "model.safetensors is missing; the best weights are selected from the remaining epochs, if there are any"
        in said
    )
    assert "now holds the newest weights; those of the best epoch are lost" in said
    assert vertebra.load(run)


def test_json_has_no_nan(tmp_path: Path) -> None:
    """The scores of the command line are JSON whatever they are, and what is null is named."""
    script = (
        "import vertebra.export.evaluate as e\n"
        "e.evaluate = lambda *a, **o: {'a/map': float('nan'), 'a/loss': float('inf'), 'a/mar': 0.5}\n"
        "from vertebra.cli.main import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "eval", "x", "--json"], capture_output=True, text=True, check=True
    )

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(done.stdout, parse_constant=refuse) == {"a/map": None, "a/loss": None, "a/mar": 0.5}
    assert done.stderr.strip() == "2 numbers are not finite and printed as null: a/map, a/loss"
