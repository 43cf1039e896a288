"""A resumed run: what may change is taken and told, what may not is refused, and moved data and runs are found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vertebra
from vertebra.cli.train import train as train_command
from vertebra.config import Config
from vertebra.errors import ConfigError, RunError, VertebraError
from vertebra.recipe.lr_schedule import Cosine, lr_factor
from vertebra.training import execution
from vertebra.training.data_paths import locate, move
from vertebra.training.hardware import Hardware
from vertebra.training.record import without_folders
from vertebra.training.resolved_config import ResolvedConfig, resolved_config
from vertebra.training.resuming import Resumption, Saved, compare, consequences
from vertebra.training.run import resume_run
from vertebra.training.saved_state import read_state
from vertebra.weights.model_file import read_header


def draw(folder: Path, seed: int = 0) -> Path:
    """Two classes of eight small images: twelve to train, two to validate."""
    noise = np.random.default_rng(seed)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            picture = noise.integers(0, 255, (32, 48 - 8 * seed, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return folder


RECIPE = {
    "epochs": 1, "batch_size": 4, "image_size": [32, 48], "workers": 0, "precision": "32", "ema": None, "augment": "none",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a run takes longer than these runs."""
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and the ``run`` that was trained on them for one epoch."""
    home = tmp_path_factory.mktemp("original")
    draw(home / "data")
    model = {"backbone": "mobilenetv2_035", "decoder": "linear"}
    vertebra.train(data=str(home / "data"), model=model, train=RECIPE, out=home / "run")
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    """A copy of it, elsewhere: the original is not there for it."""
    shutil.copytree(original, tmp_path / "home")
    record = json.loads((tmp_path / "home" / "run" / "run.json").read_text())
    assert record["folder"] == str(original / "run")
    return tmp_path / "home"


def last(home: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(home / "run" / "last.ckpt", weights_only=True)
    return state


def test_more_epochs_are_taken_and_the_rate_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self: Any, *arguments: Any, **options: Any) -> Any:
        used.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    resume_run(home / "run", train={"epochs": 3})
    told = capsys.readouterr().err
    assert "train.epochs: 1 -> 3" in told
    assert "the learning rate follows the schedule of 3 epochs from here on: 1e-05 -> " in told
    assert used == [1e-3 * lr_factor(place, 9, 0.05, Cosine()) for place in range(3, 9)], (
        "also the first step is on the new course"
    )
    assert yaml.safe_load((home / "run" / "config.yaml").read_text())["train"]["epochs"] == 3
    assert (last(home)["epoch"], last(home)["global_step"]) == (2, 9)
    assert last(home)["vertebra"]["config"]["train"]["epochs"] == 3


def test_a_run_that_is_left_as_it_was_says_no_more_than_that(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = last(home)
    resume_run(home / "run")
    told = capsys.readouterr().err
    assert "->" not in told and "nothing left to train: all 1 epochs are done" in told
    after = last(home)
    for name, value in before["state_dict"].items():
        assert torch.equal(value, after["state_dict"][name])


CHANGES: dict[str, tuple[list[str], str]] = {
    "the rate": (["train.lr=5"], r"train.lr \(it was 0.001, now 5.0\) cannot change"),
    "the batch": (["train.batch_size=2"], r"train.batch_size \(it was 4, now 2\) cannot change"),
    "parts of a step": (["train.accumulate=2"], "train.accumulate"),
    "the seed": (["train.seed=1"], "train.seed"),
    "the canvas": (["train.image_size=64"], "train.image_size"),
    "the optimizer": (["train.optimizer=sgd"], "train.optimizer"),
    "the average": (["train.ema=0.9"], r"train.ema \(it was left out, now 0.9\)"),
    "what is best": (["train.monitor=classify/loss"], "train.monitor"),
    "the backbone": (["model.backbone.name=resnet10t"], "model.backbone.name"),
    "a part in its short form": (["model.neck=fpn"], "model.branches.classify.neck"),
    "an option of a part": (["model.decoder.dropout=0.5"], "model.branches.classify.decoder.dropout"),
    "how much of the data": (["data.ratio=0.5"], r"data.train.0.ratio \(it was 1.0, now 0.5\)"),
    "a value for ignored pixels": (["data.ignore_index=255"], "data.train.0.ignore_index"),
    "fewer epochs than done": (["train.epochs=0"], "'train.epochs' must be greater"),
    "an unknown option": (["train.epoch=3"], "Did you mean 'epochs'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_cannot_change_is_refused_by_name(original: Path, case: str) -> None:
    overrides, message = CHANGES[case]
    before = {path.name: path.read_bytes() for path in (original / "run").iterdir()}
    with pytest.raises(VertebraError, match=message) as caught:
        resume_run(original / "run", overrides=overrides)
    assert "\n" not in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in (original / "run").iterdir()}


def test_an_edited_config_is_compared_with_what_was_trained(home: Path) -> None:
    file = home / "run" / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("lr: null", "lr: 0.5"))
    with pytest.raises(RunError, match=r"train.lr \(it was 0.001, now 0.5\) cannot change within a run"):
        resume_run(home / "run")
    file.write_text(text.replace("lr: null", "lr: 0.001").replace("patience: null", "patience: 7"))
    resume_run(home / "run")
    assert last(home)["vertebra"]["config"]["train"]["lr"] is None, "the default, written out, is no change"


def test_options_of_the_command_line_are_compared_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(home / "run")
    same = {
        "task": "classify",
        "backbone": "mobilenetv2_035",
        "decoder": "linear",
        "batch_size": 4,
        "image_size": "32x48",
    }
    command(resume=folder, out=folder, epochs=2, arguments=["train.workers=0"], **same)
    assert "train.epochs: 1 -> 2" in capsys.readouterr().err
    for options, message in (
        ({"lr": 5.0}, "train.lr"),
        ({"pretrained": "True"}, "model.backbone.pretrained"),
        ({"neck": "fpn"}, "model.branches.classify.neck"),
        ({"task": "segment"}, "task"),
        ({"start": "elsewhere.safetensors"}, "model.init_from"),
        ({"ignore_index": 255}, "data.train.0.ignore_index"),
        ({"out": "elsewhere"}, "--resume continues in the run folder"),
        ({"arguments": ["farm.yaml"]}, "--resume uses the config in the run folder"),
        ({"data": str(home / "nowhere")}, "no such folder or file"),
        ({"epochs": 1}, "train.epochs is 1, and the run is in epoch 2; give at least that"),
    ):
        with pytest.raises(VertebraError, match=message):
            command(resume=folder, **options)  # type: ignore[arg-type]


def command(**given: Any) -> None:
    """``vertebra train`` with some options."""
    names = (
        "arguments", "data", "task", "backbone", "neck", "encoder", "decoder", "pretrained", "epochs", "batch_size",
        "image_size", "lr", "ignore_index", "seed", "start", "out", "resume", "lists", "recipe", "budget", "log", "teacher",
    )  # fmt: skip
    train_command(**{**dict.fromkeys(names), **given})


def test_data_of_other_content_are_refused(home: Path) -> None:
    draw(home / "others", seed=1)
    with pytest.raises(RunError, match=r"data.train: the images are not those that the run began with .* \(--from"):
        resume_run(home / "run", data=home / "others", train={"epochs": 2})
    (home / "data" / "a" / "9.png").write_bytes((home / "data" / "a" / "0.png").read_bytes())
    with pytest.raises(RunError, match=r"data.train: there are 13 images, and there were 12 when the run began"):
        resume_run(home / "run", data=home / "data")


def test_data_elsewhere_are_taken_and_kept(home: Path) -> None:
    shutil.move(home / "data", home / "moved")
    resume_run(home / "run", data=home / "moved")
    kept = yaml.safe_load((home / "run" / "config.yaml").read_text())
    assert {source["path"] for split in ("train", "val", "test") for source in kept["data"][split]} == {
        str(home / "moved")
    }
    assert vertebra.evaluate(home / "run", split="val")


def test_a_run_is_found_from_elsewhere_and_may_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "work" / "data")
    monkeypatch.chdir(tmp_path / "work")
    model = {"backbone": "mobilenetv2_035", "decoder": "linear"}
    vertebra.train(data="data", model=model, train=RECIPE, out="run")
    monkeypatch.chdir(tmp_path)
    scores = vertebra.evaluate("work/run", split="val")
    (tmp_path / "away").mkdir()
    shutil.move(tmp_path / "work", tmp_path / "away" / "work")
    assert vertebra.evaluate("away/work/run", split="val") == scores
    resume_run("away/work/run")  # type: ignore[arg-type]
    shutil.move(tmp_path / "away" / "work" / "run", tmp_path / "alone")
    shutil.move(tmp_path / "away" / "work" / "data", tmp_path / "away" / "data")
    for use in (lambda: resume_run(tmp_path / "alone"), lambda: vertebra.evaluate("alone", split="val")):
        with pytest.raises(
            ConfigError, match=r"the data of this run are not at .*; give their new path: data=\.\.\. \(--data\)"
        ):
            use()
    assert vertebra.evaluate("alone", split="val", data="away/data") == scores
    capsys.readouterr()
    resume_run(tmp_path / "alone", data="away/data")


def test_export_finds_the_images_or_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vertebra.export.calibration_images import calibration_images

    model = vertebra.load(home / "run")
    found = calibration_images(home / "run", model)
    assert len(found) == 12 and all(path.exists() for path in found)
    capsys.readouterr()
    record = json.loads((home / "run" / "run.json").read_text())
    config = (home / "run" / "config.yaml").read_text()
    (home / "run" / "config.yaml").write_text(config.replace(str(Path(record["folder"]).parent), "/nowhere"))
    assert calibration_images(home / "run", model) == []
    assert "no real images to compare with, only synthetic ones" in capsys.readouterr().err


def test_several_data_sets_move_together(tmp_path: Path) -> None:
    sources = [{"path": "/old/farm/animals"}, {"path": "/old/farm/deep/boxes"}]
    config = Config.from_raw({"data": {"train": sources}, "model": {"backbone": "r", "decoder": "linear"}})
    for name in ("animals", "deep/boxes"):
        (tmp_path / "farm" / name).mkdir(parents=True)
    moved = move(config, tmp_path / "farm")
    assert [source.path for source in moved.data.train] == [
        str(tmp_path / "farm" / "animals"),
        str(tmp_path / "farm/deep/boxes"),
    ]
    with pytest.raises(ConfigError, match=r"this run has 2 data sets; 'data' \(--data\) is the folder of them all"):
        move(config, tmp_path)
    beside = locate(config, tmp_path / "runs" / "x", "/old/runs/x")
    assert [source.path for source in beside.data.val] == [source.path for source in moved.data.val]


def saved(processes: int, **train: Any) -> tuple[Saved, ResolvedConfig]:
    options = {"epochs": 3, "batch_size": 8, "accumulate": 2, "evaluate_every": 1}
    options |= {"freeze_backbone": 0, "backbone_lr": 1}
    before, now = (
        resolved_config(Config.from_raw({"data": "d", "model": {"backbone": "r", "decoder": "linear"}, "train": each}))
        for each in (options, {**options, **train})
    )
    return Saved(before, processes=processes, device="cpu"), now


def test_another_number_of_processes_keeps_the_images_of_a_step(tmp_path: Path) -> None:
    before, now = saved(1, devices=2, accumulate=1)
    lines = compare(before, now, Hardware("cpu", 2), tmp_path)
    assert "train.accumulate: 2 -> 1" in lines and "processes: 1 -> 2, with as many images a step as before" in lines
    before, now = saved(1, devices=2)
    with pytest.raises(
        RunError, match="2 processes with train.batch_size 8 and train.accumulate 2 make steps of 32 images"
    ):
        compare(before, now, Hardware("cpu", 2), tmp_path)
    before, now = saved(1, accumulate=1, batch_size=16)
    assert compare(before, now, Hardware("cpu", 1), tmp_path) == [
        "train.batch_size: 8 -> 16", "train.accumulate: 2 -> 1",
    ]  # fmt: skip
    before, now = saved(1, accumulate=3)
    with pytest.raises(RunError, match="train.accumulate .*cannot change"):
        compare(before, now, Hardware("cpu", 1), tmp_path)
    before, now = saved(1)
    assert compare(before, now, Hardware("cuda", 1), tmp_path) == ["device: cpu -> cuda"]


def test_a_longer_schedule_that_freezes_the_backbone_again_says_so(tmp_path: Path) -> None:
    before, now = saved(1, freeze_backbone=0.3, epochs=10)
    before.config.train.freeze_backbone = 0.3
    lines = {}
    for step in (4, 20, 60):
        state = replace(before, scheduled=step, rates=(1e-3,), peaks=(1e-3,))
        _, *lines[step] = consequences(Resumption(now, Hardware("cpu", 1), state, [], tmp_path), 8, "32-true")
    assert lines == {
        4: [],
        20: ["the backbone is frozen again, up to step 24, as in the schedule of 10 epochs"],
        60: [],
    }


def test_a_checkpoint_of_an_older_version_goes_on(home: Path) -> None:
    file = home / "run" / "last.ckpt"
    state = dict(read_state(file))
    assert state.pop("vertebra")["precision"] == "32-true"
    torch.save(state, home / "older.ckpt")
    (home / "older.ckpt").replace(file)
    (home / "run" / "run.json").unlink()
    config = yaml.safe_load((home / "run" / "config.yaml").read_text())
    del config["train"]["freeze_backbone"]
    (home / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    resume_run(home / "run", data=home / "data", train={"epochs": 2})
    assert last(home)["vertebra"]["processes"] == 1


def test_a_precision_that_the_machine_chose_anew_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume_run(home / "run", train={"precision": "bf16-mixed", "epochs": 2})
    told = capsys.readouterr().err
    assert "train.precision: 32 -> bf16-mixed" in told and "not to the bit" in told
    state = torch.load(home / "run" / "last.ckpt", weights_only=True)
    state["vertebra"]["precision"] = "16-mixed"
    state["vertebra"]["version"] = "0.0.1"
    state["vertebra"]["data"]["train"]["annotations"] = "as that version counted them"
    torch.save(state, home / "run" / "last.ckpt")
    resume_run(home / "run")
    assert "precision: 16-mixed -> bf16-mixed" in capsys.readouterr().err


def test_what_a_run_records(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/secret/bin/vertebra", "train", "--resume", "my run"])
    resume_run(home / "run", train={"epochs": 2})
    text = (home / "run" / "run.json").read_text()
    record = json.loads(text)
    first, second = record["starts"]
    assert second["command"] == "vertebra train --resume 'my run'" and second["changes"][0] == "train.epochs: 1 -> 2"
    assert second["date"].endswith("+00:00") and second["working_directory"] == str(Path.cwd())
    assert first["versions"] == second["versions"] and set(first["versions"]) == {
        "vertebra", "python", "torch", "torchvision", "timm", "lightning", "numpy",
    }  # fmt: skip
    assert (
        first["versions"]["torch"] == torch.__version__.partition("+")[0]
        or first["versions"]["torch"] == torch.__version__
    )
    wanted = {
        "epochs": 1, "steps_per_epoch": 3, "images_per_step": 4, "image_size": [32, 48], "resize": "center_crop", "lr": 1e-3,
        "weight_decay": 0.05, "precision": "32-true", "device": "cpu", "processes": 1, "workers": 0, "optimizer": "adamw",
    }  # fmt: skip
    assert first["resolved"] == first["resolved"] | wanted
    assert record["data"]["train"]["images"] == 12 and len(record["data"]["train"]["annotations"]) == 32


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (
            "vertebra train --data /home/me/cells --out runs/a train.lr=1e-3",
            "vertebra train --data cells --out a train.lr=1e-3",
        ),
        (
            "vertebra train 'data.train=[{path: /a/b/c, ratio: 0.5}]'",
            "vertebra train 'data.train=[{path: c, ratio: 0.5}]'",
        ),
        (r"vertebra train --data 'C:\\Users\\me\\cells'", "vertebra train --data cells"),
        ("vertebra train --data='/home/me/my cells/'", "vertebra train '--data=my cells'"),
    ],
)
def test_a_command_without_places(command: str, kept: str) -> None:
    assert without_folders(command.replace(r"\\", "\\")) == kept


def test_a_run_that_ran_out_of_patience_stays_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"backbone": "mobilenetv2_035", "decoder": "linear"}
    recipe = {**RECIPE, "epochs": 6, "patience": 1, "lr": 1e-12}
    folder = vertebra.train(data=str(home / "data"), model=model, train=recipe, out=home / "patient")
    before = (folder / "metrics.csv").read_text()
    assert before.count("\n") == 3, "the header and two epochs"
    weights = (folder / "model.safetensors").read_bytes()
    capsys.readouterr()
    resume_run(folder)
    assert "nothing left to train: train.patience (1) is used up" in capsys.readouterr().err
    assert (folder / "metrics.csv").read_text() == before and (folder / "model.safetensors").read_bytes() == weights
    resume_run(folder, train={"patience": 2})
    assert (folder / "metrics.csv").read_text().count("\n") == 4


@pytest.mark.parametrize("starts", [[{}], ["a"], [{"date": 3}]])
def test_a_damaged_record_is_one_line(home: Path, starts: Any) -> None:
    (home / "run" / "run.json").write_text(json.dumps({"folder": "/x", "starts": starts, "data": {}}))
    with pytest.raises(RunError, match=r"run\.json: not the record of a run; delete it"):
        resume_run(home / "run", train={"epochs": 2})


def test_a_folder_in_which_nothing_was_saved_says_so(home: Path) -> None:
    (home / "begun").mkdir()
    (home / "begun" / "config.yaml").write_text("")
    with pytest.raises(
        RunError, match="holds a run that has saved nothing yet; if it is no longer running, delete the folder"
    ):
        vertebra.train(
            data=str(home / "data"), model={"backbone": "mobilenetv2_035", "decoder": "linear"}, out=home / "begun"
        )


def test_a_model_file_tells_how_it_was_made_and_nothing_of_the_machine(home: Path, tmp_path: Path) -> None:
    header, _ = read_header(home / "run" / "model.safetensors")
    made = header["provenance"]
    assert made["training"]["lr"] == 1e-3 and made["data"]["train"]["images"] == 12 and made["versions"]["vertebra"]
    text = json.dumps(header)
    for secret in (str(tmp_path), "/tmp", str(Path.home()), "working_directory"):
        assert secret not in text
    assert made["command"] and "/" not in made["command"]
    model = vertebra.load(home / "run")
    again = vertebra.load(vertebra.save(model, tmp_path / "again.safetensors"))
    assert again.provenance == model.provenance == made
    from vertebra.weights.model_file import identity

    again.provenance = {**made, "date": "another"}
    assert identity(again) == identity(model), "when a model was made is not what it is"
