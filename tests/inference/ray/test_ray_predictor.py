"""Many machines: a Ray cluster says what one machine says, in the same order, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

import vertebra  # noqa: E402
from tests.daily_sample import WHOLE  # noqa: E402
from tests.inference.painted import Painted, paint  # noqa: E402
from vertebra.cli.main import main  # noqa: E402
from vertebra.errors import ConfigError, DataError, RunError, WeightsError  # noqa: E402
from vertebra.inference.model_source import ModelSource  # noqa: E402
from vertebra.inference.ray.cluster import WorkerPlan, connected, plan_workers  # noqa: E402
from vertebra.inference.ray.predictor import RayPredictor  # noqa: E402

COUNT = 11


class PaintedOpening(ModelSource):
    """Opens no file, but the model that knows painted rectangles."""

    gpu = False

    def predictor(self, **options: Any) -> Painted:
        assert self.path.read_bytes() == b"weights", "the file has come along"
        return Painted((40, 40), **options)


class FragileOpening(ModelSource):
    """The same, but its process dies: at the first batch that is seen anywhere, or at each."""

    gpu = False

    def predictor(self, **options: Any) -> Painted:
        return Fragile(Path(self.path.read_text()), **options)


class Fragile(Painted):
    def __init__(self, mark: Path, **options: Any) -> None:
        super().__init__((40, 40), **options)
        self.mark = mark

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Any:
        if self.mark.name == "always" or not self.mark.exists():
            self.mark.touch()
            os._exit(1)
        return super().run(canvases, sizes)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of one machine, to which this process is connected, and whose processes find this file."""
    own = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        ray.init(address="local", num_cpus=2, object_store_memory=80 * 2**20, **own)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of different sizes; the one rectangle of number i begins at column i."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        image = paint((30 + number, 40), [(number, 5, number + 12, 25, number % 2)])
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def painted(tmp_path: Path) -> PaintedOpening:
    file = tmp_path / "painted.safetensors"
    file.write_bytes(b"weights")
    return PaintedOpening(file)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A model file with three branches."""
    branches = {
        "kind": {"task": "classify", "decoder": "linear", "classes": ["x", "y"]},
        "boxes": {"task": "detect", "neck": "fpn", "decoder": "fcos", "classes": ["x", "y"]},
        "regions": {"task": "segment", "decoder": "upsample", "classes": ["x", "y"]},
    }
    model = vertebra.create_model(backbone="test_resnet", branches=branches, image_size=64)
    return vertebra.save(model, tmp_path / "model.safetensors")


# --- on a cluster -------------------------------------------------------------------------------------------------------


def test_the_same_in_the_same_order(
    cluster: None, photos: Path, painted: PaintedOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    (photos / "05b.png").write_bytes(b"no picture")
    files = sorted(Path().glob("*.png"))
    engine = RayPredictor(painted, workers=2, batch_size=2, skip_unreadable=True)
    found = list(engine.stream(files))
    local = Painted((40, 40), batch_size=2, skip_unreadable=True)
    wanted = list(local.stream(files))
    assert [result.path for result in found] == [file for file in files if file.name != "05b.png"]
    assert [result.to_dict() for result in found] == [result.to_dict() for result in wanted]
    assert [result["boxes"].boxes[0, 0] for result in found] == list(range(COUNT))
    pictures = [result["boxes"].draw() for result in (found[3], wanted[3])]
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert engine.skipped == local.skipped and "05b.png" in engine.skipped[0].reason


def test_an_unreadable_image_ends_the_job_where_none_may_be_left_out(
    cluster: None, photos: Path, painted: PaintedOpening
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png: not an image"):
        list(RayPredictor(painted, workers=1).stream([photos / "bad.png"]))


def test_a_worker_that_dies_is_replaced(cluster: None, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "fragile.safetensors"
    file.write_text(str(tmp_path / "died"))
    files = sorted(photos.iterdir())
    found = list(RayPredictor(FragileOpening(file), workers=1, batch_size=4).stream(files))
    assert (tmp_path / "died").exists()
    assert [result.path for result in found] == files


@pytest.mark.skipif(not WHOLE, reason="takes minutes; make matrix runs it")
def test_images_that_kill_each_worker_end_the_job(cluster: None, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "fragile.safetensors"
    file.write_text(str(tmp_path / "always"))
    with pytest.raises(RunError, match="the work on the Ray cluster failed"):
        list(RayPredictor(FragileOpening(file), workers=1).stream(sorted(photos.iterdir())))


def test_the_command_goes_on_where_it_stopped(
    cluster: None,
    photos: Path,
    real: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def predict(*more: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            "sys.argv", ["vertebra", "predict", str(real), *map(str, [photos, "--batch-size", 4, *more])]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    assert predict("--jsonl", str(tmp_path / "local.jsonl"), "--threads", "1")[0] == 0
    wanted = (tmp_path / "local.jsonl").read_text().splitlines()
    lines = tmp_path / "ray.jsonl"
    lines.write_text("".join(line + "\n" for line in wanted[:4]) + wanted[4][:20])
    shutil.copy(tmp_path / "local.jsonl.job", tmp_path / "ray.jsonl.job")  # one engine goes on where the other stopped
    code, out, err = predict("--jsonl", str(lines), "--json", "--engine", "ray", "--workers", "2")
    assert code == 0, err
    assert f"4 of {COUNT} images are in" in err
    found = lines.read_text().splitlines()
    assert found[:4] == wanted[:4] and json.loads(out) == [json.loads(line) for line in found[4:]]
    for ours, theirs in zip(map(json.loads, found), map(json.loads, wanted), strict=True):
        assert ours["image"] == theirs["image"] and ours["regions"] == theirs["regions"]
        assert ours["kind"]["probabilities"] == pytest.approx(theirs["kind"]["probabilities"], abs=1e-5)
        assert len(ours["boxes"]["objects"]) == len(theirs["boxes"]["objects"])


def test_a_damaged_file_is_one_line_with_a_cluster_too(
    cluster: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(b"no graph")
    command = ["vertebra", "predict", damaged, photos, "--json", "--engine", "ray", "--workers", 1]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2 and not printed.out
    assert (
        printed.err.startswith(f"vertebra: {damaged}: not loaded, it is truncated or damaged")
        and printed.err.count("\n") == 1
    )


# --- without one --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "wishes", "wanted"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}], {}, WorkerPlan(4, 4, 0)),
        ([{"CPU": 6.0}], {}, WorkerPlan(2, 3, 0)),
        ([{"CPU": 2.0}, {"memory": 1.0}], {}, WorkerPlan(1, 2, 0)),
        ([{"CPU": 16.0}], {"workers": 1}, WorkerPlan(1, 16, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], {"workers": 3}, WorkerPlan(3, 4, 0)),
        ([{"CPU": 2.0}], {"workers": 4}, WorkerPlan(4, 1, 0)),
        ([{"CPU": 8.0}], {"threads": 3}, WorkerPlan(2, 3, 0)),
        ([{"CPU": 8.0}, {"CPU": 32.0, "GPU": 2.0}], {}, WorkerPlan(2, 4, 1)),
        ([{"CPU": 4.0, "GPU": 4.0}], {}, WorkerPlan(4, 1, 1)),
        ([{"CPU": 8.0, "GPU": 2.0}], {"gpu": False}, WorkerPlan(2, 4, 0)),
    ],
)
def test_how_the_work_is_shared(machines: list[dict[str, float]], wishes: dict[str, Any], wanted: WorkerPlan) -> None:
    assert plan_workers(machines, **{"workers": None, "threads": None, "gpu": None, **wishes}) == wanted


def test_what_no_machine_has() -> None:
    with pytest.raises(ConfigError, match=r"needs 3 CPUs, but no machine .* \[2, 2\]"):
        plan_workers([{"CPU": 2.0}, {"CPU": 2.0}], workers=None, threads=3, gpu=None)
    with pytest.raises(ConfigError, match="no GPU"):
        plan_workers([{"CPU": 2.0}], workers=None, threads=None, gpu=True)
    with pytest.raises(ConfigError, match="needs 1 CPU"):
        plan_workers([], workers=None, threads=None, gpu=None)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (["--engine", "spark"], "unknown engine 'spark'"),
        (["--workers", "2"], "--address and --workers are for a Ray cluster; add --engine ray"),
        (["--address", "auto"], "--address and --workers are for a Ray cluster; add --engine ray"),
    ],
)
def test_options_that_do_not_fit(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str], wanted: str
) -> None:
    monkeypatch.setattr("sys.argv", ["vertebra", "predict", "model.onnx", str(photos), "--json", *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and wanted in capsys.readouterr().err


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Ray is asked for, by a process that is not connected."""
    noted: list[Any] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: noted.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: noted.append("shutdown"))
    return noted


def test_a_cluster_is_started_where_there_is_none(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError), connected(None):
        raise KeyError
    assert calls[0]["address"] == "local" and calls[0]["include_dashboard"] is False and calls[1:] == ["shutdown"]
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with connected(None):
        pass
    assert calls[2]["address"] == "auto" and "include_dashboard" not in calls[2]


def test_what_is_connected_already_stays_so(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with connected("auto"):
        pass
    assert calls == []


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_nobody_answers(calls: list[Any], address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
        with (
            pytest.raises(ConfigError, match=f"no Ray cluster at '{address}': no answer"),
            connected(address),
        ):
            pass
    assert calls == []


def test_what_ray_says_of_an_address(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise ValueError("Invalid address format: nonsense\nTraceback")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match="at 'nonsense': Invalid address format: nonsense$"), connected("nonsense"):
        pass


def test_ray_is_not_installed(painted: PaintedOpening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install '.\[ray\]'"):
        list(RayPredictor(painted).stream(["a.jpg"]))


def test_images_must_be_files(painted: PaintedOpening, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images are files, not ndarray"):
        list(RayPredictor(painted).stream([np.zeros((4, 4, 3), np.uint8)]))
    with pytest.raises(WeightsError, match="cannot be read"):
        list(RayPredictor(ModelSource(tmp_path / "none.onnx")).stream(["a.jpg"]))
    assert list(RayPredictor(painted).stream([])) == []
