"""Where the operating system refuses, a command ends with one sentence and exit code 2, and leaves nothing half."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vertebra
from vertebra import files
from vertebra.cli.main import explained, main
from vertebra.errors import RunError
from vertebra.export import runtime_cache
from vertebra.runtimes.runtime_config import identity
from vertebra.training.folder import RunFolder
from vertebra.weights import model_file


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*words: Any) -> Ended:
        monkeypatch.setattr("sys.argv", ["vertebra", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes a file can have: the system then refuses as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_line(ended: Ended) -> str:
    assert ended.code == 2 and "Traceback" not in ended.err, ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vertebra: ")]
    return line


@pytest.mark.parametrize("place", ["taken/x", "n" * 300])
def test_a_place_that_cannot_be(
    command: Command, finished: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    image = sorted((scenes / "regions" / "images" / "test").iterdir())[0]
    said = "taken is a file, and a folder is needed there" if "/" in place else "the name is too long"
    for words in (
        ("predict", finished, image, "--out", place),
        ("predict", finished, image, "--masks", place),
        ("predict", finished, image, "--jsonl", place),
        ("predict", finished, image, "--coco-results", place, "--branch", "boxes"),
        ("train", "--data", scenes / "boxes", "--task", "detect", "--backbone", "resnet10t", "--pretrained", "false",
         "--image-size", "32", "--out", place),
        ("export", finished, "--out", f"{place}.onnx"),
    ):  # fmt: skip
        assert said in one_line(command(*map(str, words))), words
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_ends_training_in_one_line(
    command: Command, scenes: Path, tmp_path: Path, limit: Callable[[int], None]
) -> None:
    limit(200_000)
    ended = command(
        "train", "--data", scenes / "boxes", "--task", "detect", "--backbone", "resnet10t", "--pretrained", "false",
        "--epochs", 1, "--image-size", 32, "--out", tmp_path / "run", "train.workers=0",
    )  # fmt: skip
    assert f"{tmp_path / 'run'}/last.ckpt: the file would be larger" in one_line(ended)
    assert "epoch" not in ended.err.partition("training:")[2], "the first state is written before the first step"
    assert not (tmp_path / "run").exists(), "nothing was trained, and so nothing blocks the name"


def test_the_older_weights_stay_whole(finished: Path, tmp_path: Path, limit: Callable[[int], None]) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(finished / "model.safetensors", path)
    model = vertebra.load(path)
    before = path.read_bytes()
    limit(200_000)
    with pytest.raises(RunError, match=r"model\.safetensors: the file would be larger"):
        model_file.write(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_older_state_stays_whole(tmp_path: Path, limit: Callable[[int], None]) -> None:
    class Trainer:
        is_global_zero = True

        def save_checkpoint(self, path: Path) -> None:
            path.write_bytes(b"x" * 2000)

    (tmp_path / "last.ckpt").write_bytes(b"older")
    limit(1000)
    with pytest.raises(RunError, match=r"last\.ckpt: the file would be larger"):
        RunFolder(tmp_path, None, None, 10.0).save(Trainer())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == b"older"


def test_what_is_explained() -> None:
    assert explained(MemoryError()) is not None
    assert explained(PermissionError(13, "Permission denied", "a")) == (
        "a: permission denied; change the permissions, or choose another place"
    )
    assert explained(OSError("no number: a fault of a program")) is None
    assert explained(ModuleNotFoundError("x", name="nothing")) is None


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["vertebra", "describe", str(tmp_path / ("n" * 300)), "--debug"])
    with pytest.raises((OSError, vertebra.VertebraError)):
        main()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_standard_output_on_a_full_disk() -> None:
    code = "import sys; sys.argv = ['vertebra', '--version']; from vertebra.cli.main import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no space is left on the disk" in done.stderr


def test_a_prepared_file_goes_to_the_cache(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``exported`` is a file here, which even an administrator cannot write into, as into a folder that is read-only."""
    model, cache, made = tmp_path / "model.safetensors", tmp_path / "cache", []
    shutil.copy(finished / "model.safetensors", model)
    (tmp_path / "exported").write_text("in the way")

    def export(model: Any, path: Path, **options: Any) -> None:
        made.append(path)
        path.write_bytes(b"graph")

    monkeypatch.setattr("vertebra.export.export_model.export_model", export)
    monkeypatch.setenv("VERTEBRA_CACHE", str(cache))
    path = runtime_cache.cached_export(model, "fp32")
    assert path.parent == cache / "exported" and path.name.endswith("-fp32.onnx") and made == [path]
    assert runtime_cache.cached_export(model, "fp32") == path and made == [path], "made once"
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "exported" / "x"))
    with pytest.raises(RunError, match="exported is a file, and a folder is needed there; .* Set VERTEBRA_CACHE to a"):
        runtime_cache.cached_export(model, "fp32")
    (tmp_path / "exported").unlink()
    assert runtime_cache.cached_export(model, "fp32").parent == tmp_path / "exported", (
        "beside the model where that can be"
    )


def test_json_whose_file_is_gone_is_not_in_the_way(tmp_path: Path, finished: Path) -> None:
    """Someone deleted the ``.onnx`` alone, or an older version was killed: the file is made again."""
    model = tmp_path / "model.safetensors"
    shutil.copy(finished / "model.safetensors", model)
    stale = tmp_path / "exported" / f"model-{identity(model)}-fp32.onnx.json"
    stale.parent.mkdir()
    stale.write_text("stale")
    path = runtime_cache.cached_export(model, "fp32")
    assert (
        path.with_name(f"{path.name}.json") == stale and path.is_file() and "producer" in json.loads(stale.read_text())
    )


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("VERTEBRA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "vertebra"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert files.cache_folder() == Path("/home/me/.cache/vertebra")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert files.cache_folder() == Path("/home/me/Library/Caches/vertebra")


def test_a_damaged_legend_is_not_overwritten(command: Command, finished: Path, scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text("{")
    image = sorted((scenes / "regions" / "images" / "test").iterdir())[0]
    assert "lists other classes" in one_line(command("predict", finished, image, "--masks", tmp_path))
    (tmp_path / "classes.json").unlink()
    ended = command("predict", finished, image, "--masks", tmp_path, "--json")
    assert ended.code == 0
    (row,) = json.loads(ended.out)
    assert row["masks"] == {"regions": str(tmp_path / f"{image.stem}.png")}


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "vertebra", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == vertebra.__version__ and not done.stderr
