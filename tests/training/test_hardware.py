"""What a run asks of the machine is refused in one line where the machine has not got it, before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import vertebra
from vertebra.config import TrainConfig
from vertebra.errors import ConfigError, VertebraError
from vertebra.training import hardware
from vertebra.training.hardware import check_hardware, check_memory
from vertebra.training.sharding import check_sharding


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_cpus", lambda: 4)


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.parametrize(("devices", "processes"), [("auto", 1), (1, 1), (4, 4), ("3", 3)])
def test_processes_on_a_cpu(four_cores: None, devices: Any, processes: int) -> None:
    assert check_hardware(TrainConfig(devices=devices, accelerator="cpu")) == ("cpu", processes)


@pytest.mark.parametrize(
    ("devices", "processes"), [("auto", 3), (-1, 3), ("-1", 3), (2, 2), ("2", 2), ([0, 2], 2), ("0,2", 2), ("1,", 1)]
)
def test_processes_on_gpus(three_gpus: None, devices: Any, processes: int) -> None:
    assert check_hardware(TrainConfig(devices=devices)) == ("cuda", processes)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (2147483648, "is 2147483648, but this machine has 4 CPU cores"),
        ("2147483648", "is 2147483648, but this machine has 4 CPU cores"),
        (5, "take at most 4"),
        (0, "give a number from 1 on"),
        ("0", "give a number from 1 on"),
        (-1, "give a number from 1 on"),
        ([0], "names GPUs; on a CPU give a number"),
        ("0,1", "names GPUs"),
        ([], "at least one"),
        (",", "at least one"),
        ("", "is no number"),
        ("many", "is no number"),
        ("1.5", "is no number"),
    ],
)
def test_devices_that_a_cpu_has_not(four_cores: None, devices: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"train.devices.*{message}"):
        check_hardware(TrainConfig(devices=devices, accelerator="cpu"))


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (4, "this machine has 3 GPUs"),
        (2**31, "take at most 3"),
        ([3], "there is no GPU 3"),
        ("0,7", "there is no GPU 7"),
        ([-1], "there is no GPU -1"),
        ([0, 0], "each device once"),
        (-2, "give a number from 1 on"),
    ],
)
def test_devices_that_the_gpus_are_not(three_gpus: None, devices: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"train.devices.*{message}"):
        check_hardware(TrainConfig(devices=devices))


def test_a_canvas_that_no_memory_holds_is_told() -> None:
    check_memory(TrainConfig(batch_size=16), (512, 512), "cpu")
    with pytest.raises(ConfigError, match=r"train.image_size 32768x32768 with train.batch_size 64 needs more than"):
        check_memory(TrainConfig(batch_size=64), (32768, 32768), "cpu")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a seed below 0": ({"seed": -1}, "'train.seed' must be greater than or equal to 0, got -1"),
    "a seed that is none": ({"seed": 1.5}, "'train.seed' must be a whole number, got 1.5"),
    "no device": ({"devices": 0}, "train.devices is 0"),
    "too many devices": ({"devices": 2147483648, "accelerator": "cpu"}, "train.devices is 2147483648"),
    "an unknown strategy": ({"strategy": "dpp"}, "unknown train.strategy 'dpp'. Did you mean 'ddp'"),
    "a strategy for several devices": (
        {"strategy": "fsdp", "accelerator": "cpu"},
        "fsdp divides the weights among devices, and there is one",
    ),
    "an unknown accelerator": ({"accelerator": "x"}, "unknown train.accelerator 'x'. There is: auto, cpu, cuda, gpu"),
    "an accelerator that is missing": (
        {"accelerator": "cuda"},
        "train.accelerator is 'cuda', and this machine has none",
    ),
    "machines that nobody named": ({"num_nodes": 2}, "train.num_nodes is 2, but the addresses of"),
    "too many loader processes": ({"workers": 2**31}, "train.workers is 2147483648"),
    "a canvas too large": ({"image_size": 30000, "batch_size": 1000}, "train.image_size 30000x30000"),
    "a side too long": ({"image_size": [64, 100000]}, "of 1 to 65536 pixels a side"),
    "BatchNorm of one value": ({"batch_size": 1, "image_size": 32}, "BatchNorm has a single value per channel"),
    "a rate that is no number": ({"lr": float("nan")}, "train.lr"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_leaves_nothing_behind(case: str, scenes: Path, tmp_path: Path) -> None:
    train, message = BAD[case]
    model = {"backbone": "resnet10t", "decoder": "linear"}
    recipe = {"epochs": 1, "image_size": 32, "batch_size": 4, "workers": 0, **train}
    with pytest.raises(VertebraError, match=message) as caught:
        vertebra.train(data=str(scenes / "animals"), model=model, train=recipe, out=tmp_path / "runs" / "x")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "'' is no path"),
        ("  ", "is no path"),
        ({"train": []}, "'data.train' must not be empty"),
        ({"train": [{"path": ""}]}, "data.train.0.path: '' is no path"),
        ({"train": [{"path": "x", "branches": []}]}, "'data.train.0.branches' must not be empty"),
        ({"train": [{"path": "x", "ratio": 1e9}]}, "'data.train.0.ratio' must be less than or equal to 1000"),
        ({"train": [{"path": "x", "ignore_index": -1}]}, "'data.train.0.ignore_index' must be"),
        ("x" * 5000, "cannot be opened: File name too long"),
        ("/dev/null", "neither a folder nor a file"),
        ("/", "the whole file system is no data set"),
    ],
)
def test_no_data_are_not_the_current_folder(data: Any, message: str, tmp_path: Path) -> None:
    model = {"backbone": "resnet10t", "decoder": "linear"}
    with pytest.raises(VertebraError, match=message):
        vertebra.train(data=data, model=model, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_parts_that_no_memory_holds_are_told(scenes: Path, tmp_path: Path) -> None:
    for part, message in (
        ({"decoder": {"name": "linear", "hidden": [10**12]}}, "model.branches.classify.decoder: decoder 'linear' cannot be built"),
        ({"decoder": "linear", "neck": {"name": "fpn", "channels": 10**20}}, "neck 'fpn' cannot be built"),
        ({"decoder": {"name": "linear", "dropout": float("nan")}}, "must be a finite number, got NaN"),
        ({"decoder": "linear", "backbone": {"name": "resnet10t", "in_channels": 0}}, "'in_channels' must be from 1 to 4096"),
        ({"decoder": "linear", "backbone": {"name": "resnet10t", "size_multiple": 10**9}}, "'size_multiple' must be from 1"),
        ({"decoder": "linear", "branches": {}}, "is set beside 'branches'"),
        ({"branches": {}}, "model.branches: a model needs at least one branch"),
        ({"branches": {"a/b": {"decoder": "linear"}}}, "'a/b' cannot be a branch's name"),
        ({"branches": {"": {"decoder": "linear"}}}, "'' cannot be a branch's name"),
    ):  # fmt: skip
        with pytest.raises(VertebraError, match=message):
            vertebra.train(data=str(scenes / "animals"), model={"backbone": "resnet10t", **part}, out=tmp_path / "x")
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("error", "wanted", "message"),
    [
        (RuntimeError("anything"), RuntimeError, "anything"),
        (
            ValueError("Expected more than 1 value per channel when training, got …"),
            ConfigError,
            "train.batch_size: BatchNorm",
        ),
        (
            torch.OutOfMemoryError("Tried to allocate 20 GiB"),
            VertebraError,
            "out of memory .* start again with train.batch_size=4 train.accumulate=2",
        ),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
    ],
    ids=["any", "BatchNorm", "memory", "Ctrl-C"],
)
def test_a_start_that_fails_leaves_nothing_behind(
    error: BaseException, wanted: type[BaseException], message: str, scenes: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*given: Any, **options: Any) -> None:
        assert any((tmp_path / name / "config.yaml").exists() for name in ("runs/x", "mine")), (
            "made when training begins"
        )
        raise error

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", fail)
    model = {"backbone": "mobilenetv2_035", "decoder": "linear"}
    for _ in range(2):
        with pytest.raises(wanted, match=message):
            vertebra.train(data=str(scenes / "animals"), model=model, train={"workers": 0}, out=tmp_path / "runs" / "x")
        assert not (tmp_path / "runs").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(wanted):
        vertebra.train(data=str(scenes / "animals"), model=model, train={"workers": 0}, out=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == [], "a folder that was there before stays"


def test_a_missing_compiler_is_named_before_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = TrainConfig(accelerator="cpu", compile=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"train.compile needs a C\+\+ compiler, .* or set train.compile=false"):
        check_hardware(recipe)
    compiler = tmp_path / "my-compiler"
    compiler.touch(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert check_hardware(recipe).device == "cpu"


@pytest.mark.parametrize(
    ("options", "branches", "message"),
    [
        ({"devices": 1}, 1, "fsdp divides the weights among devices, and there is one"),
        ({}, 2, "of 2 branches a process may have no labels for one"),
        ({"compile": True}, 1, "train.compile and train.strategy fsdp exclude each other"),
        ({"precision": "16-mixed"}, 1, "fsdp has no 16-mixed"),
    ],
)
def test_what_fsdp_cannot_do_is_refused(options: dict[str, Any], branches: int, message: str) -> None:
    recipe = TrainConfig.model_validate({"strategy": "fsdp", "devices": 2, **options})
    with pytest.raises(ConfigError, match=message):
        check_sharding(recipe, int(recipe.devices), branches)  # type: ignore[arg-type]


def test_strategies_that_save_parts_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="'deepspeed_stage_2' stores weights in parts; take fsdp"):
        check_hardware(TrainConfig(accelerator="cpu", strategy="deepspeed_stage_2"))
