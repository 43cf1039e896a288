"""Models and files are used from many threads at once: cold and warm, with options mixed; each gets its own image's answer."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vertebra
from tests.weights.peers.randomize import randomize
from vertebra.export.export_model import export_model
from vertebra.inference import engine as engines
from vertebra.inference import model_engines
from vertebra.inference.engine import Engine
from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.model_engines import ModelEngines
from vertebra.inference.predictor import Predictor
from vertebra.inference.results import Result
from vertebra.model import VisionModel
from vertebra.optimize.fx_tracing import trace

THREADS = 8
BRANCHES: dict[str, Any] = {
    "animal": {"decoder": "linear", "classes": ["dog", "cat", "cow"]},
    "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog", "cat"]},
    "regions": {"decoder": "upsample", "classes": ["dog", "cat"]},
}
MIXED: list[dict[str, Any]] = [
    {"threshold": 0.0, "batch_size": 4},
    {"threshold": 0.3},
    {"precision": "bf16", "batch_size": 2},
    {"flip": True, "device": "cpu"},
    {"threshold": 0.2, "tile": 32, "batch_size": 3},
]


def made(branches: dict[str, Any] = BRANCHES, backbone: str = "resnet10t") -> VisionModel:
    torch.manual_seed(0)
    model = vertebra.create_model(backbone, branches=branches, image_size=(32, 64), resize="letterbox")
    return randomize(model)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Images whose brightness and size tell them apart."""
    draw = np.random.default_rng(0)
    sizes = [(32, 64), (40, 70), (64, 48), (30, 90)]
    return [
        (draw.integers(0, 128, (*sizes[number % 4], 3)) + 8 * number).astype(np.uint8) for number in range(2 * THREADS)
    ]


def assert_same(ours: Sequence[Result], theirs: Sequence[Result], near: float = 1e-4) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.size == other.size
        np.testing.assert_allclose(own["animal"].probabilities, other["animal"].probabilities, atol=near)
        if "regions" in own:
            assert (own["regions"].mask == other["regions"].mask).mean() > 0.99
        if "boxes" in own:
            np.testing.assert_allclose(own["boxes"].scores, other["boxes"].scores, atol=near)
            np.testing.assert_allclose(own["boxes"].boxes[:3], other["boxes"].boxes[:3], atol=100 * near)


def together(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What each of many threads gives that begin at the same moment."""
    gate = threading.Barrier(threads)

    def begun(number: int) -> Any:
        gate.wait(30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begun, range(threads)))


@pytest.mark.parametrize("warm", [False, True])
def test_a_model_with_options_mixed(pictures: list[np.ndarray], warm: bool) -> None:
    alone, model = made(), made()
    expected = [
        [alone.predict(pictures[number : number + 2], **options) for options in MIXED] for number in range(THREADS)
    ]
    if warm:
        for options in MIXED:
            model.predict(pictures[:3], **options)

    def work(number: int) -> None:
        for turn in range(2 * len(MIXED)):
            which = (turn + number) % len(MIXED)
            found = model.predict(pictures[number : number + 2], **MIXED[which])
            assert_same(found, expected[number][which], 0.02 if "precision" in MIXED[which] else 1e-4)

    together(work)
    assert len(model._engines) == 2, "one for each precision"


def test_models_are_prepared_while_others_run(pictures: list[np.ndarray]) -> None:
    """Nothing that others use is replaced for a moment, neither in Vertebra's modules nor in anyone's."""
    others = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    maps = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        others_say = others(maps)
    expected = made().predict(pictures[:2])
    running = made()
    running.predict(pictures[:2])

    def work(number: int) -> None:
        if number < 3:
            assert_same(made_fresh[number].predict(pictures[:2]), expected)
            return
        until = time.monotonic() + 2
        while time.monotonic() < until:
            with torch.no_grad():
                assert torch.equal(others(maps), others_say)
            assert_same(running.predict(pictures[:2]), expected)

    made_fresh = [made() for _ in range(3)]
    together(work, 5)


def test_a_predictor_is_shared(pictures: list[np.ndarray]) -> None:
    predictor = Predictor(made(), batch_size=3, threshold=0.0)
    expected = Predictor(made(), batch_size=3, threshold=0.0).predict(pictures)

    def work(number: int) -> None:
        for count in (1, 5, 2):
            found = list(predictor.stream(pictures[number : number + count]))
            assert_same(found, expected[number : number + count])

    together(work)


def test_a_model_is_changed_between_predictions(pictures: list[np.ndarray]) -> None:
    model = made()
    (before,) = model.predict(pictures[0])
    with torch.no_grad():
        for value in model.branch("animal").parameters():
            value.mul_(3.0)
    expected = copy.deepcopy(model).predict(pictures[0])
    assert abs(before["animal"].probabilities - expected[0]["animal"].probabilities).max() > 0.01
    for found in together(lambda number: model.predict(pictures[0], threshold=number / 10)):
        np.testing.assert_allclose(found[0]["animal"].probabilities, expected[0]["animal"].probabilities, atol=1e-5)
    assert len(model._engines) == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, VisionModel]]:
    """An exported file of a kind, and the model that it was made from."""
    folder = tmp_path_factory.mktemp("files")
    whole, small = (
        made({name: BRANCHES[name] for name in names}, "test_resnet") for names in (["animal", "regions"], ["animal"])
    )

    def file(suffix: str) -> tuple[Path, VisionModel]:
        path, model = folder / f"model{suffix}", small if suffix == ".pte" else whole  # which takes long to make
        if not path.exists():
            export_model(model, path, **({} if suffix == ".pte" else {"input": "canvas"}))
        return path, model

    return file


@pytest.mark.parametrize(
    ("runtime", "suffix", "package"),
    [
        ("onnx", ".onnx", "onnxruntime"),
        ("openvino", ".onnx", "openvino"),
        ("torch", ".pt2", "torch"),
        ("executorch", ".pte", "executorch"),
    ],
)
def test_an_exported_file(
    files: Callable[[str], tuple[Path, VisionModel]],
    pictures: list[np.ndarray],
    runtime: str,
    suffix: str,
    package: str,
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    path, model = files(suffix)
    expected = model.predict(pictures)
    shared = ExportedModel(path, runtime=runtime)

    def cold(number: int) -> None:
        for turn in range(4):
            file = shared if number % 2 else ExportedModel(path, runtime=runtime)
            assert_same(file.predict(pictures[turn + number : turn + number + 1]), expected[turn + number :][:1])

    together(cold, 4)

    def work(number: int) -> None:
        for turn in range(12):
            first, count = (number + turn) % len(pictures), 1 + turn % 3
            found = shared.predict(pictures[first : first + count], batch_size=1 + turn % 2, threshold=turn / 20)
            assert_same(found, expected[first : first + count])

    together(work)


def test_a_compiled_model_takes_turns(monkeypatch: pytest.MonkeyPatch, pictures: list[np.ndarray]) -> None:
    inside: list[int] = []

    def compiled(model: Any, mode: Any = None) -> Any:
        def run(images: Any, sizes: Any) -> Any:
            inside.append(1)
            assert len(inside) == 1, "two threads at once"
            time.sleep(0.002)
            found = model(images, sizes)
            inside.pop()
            return found

        return run

    monkeypatch.setattr(engines.torch, "compile", compiled)
    model = made()
    expected = model.predict(pictures[:1])
    for found in together(lambda number: model.predict(pictures[:1], compile=True)):
        assert_same(found, expected)


def test_an_engine_is_made_once(monkeypatch: pytest.MonkeyPatch, pictures: list[np.ndarray]) -> None:
    begun: list[str] = []

    class Counted(Engine):
        def __init__(self, *given: Any, **options: Any) -> None:
            begun.append(options.get("precision", "fp32"))
            super().__init__(*given, **options)

    monkeypatch.setattr(model_engines, "Engine", Counted)
    model = made()
    together(lambda number: model.predict(pictures[0], precision=("fp32", "bf16")[number % 2], threshold=number / 10))
    assert sorted(begun) == ["bf16", "fp32"]


def test_engines_are_kept_until_the_model_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self, model: Any, precision: str, **options: Any) -> None:
            time.sleep(0.05)
            if precision == "none":
                raise ValueError("no such precision")

    monkeypatch.setattr(model_engines, "Engine", Slow)
    engines, model = ModelEngines(), made({"animal": BRANCHES["animal"]}, "test_resnet")
    built = together(lambda number: engines.engine(model, "cpu", ("fp32", "bf16")[number % 2], False))  # type: ignore[arg-type]
    assert len(set(map(id, built))) == 2 and len(engines) == 2
    for device in (torch.device("cpu"), "cpu:0", torch.device("cpu", 0)):
        assert engines.engine(model, device, "fp32", False) is built[0] and len(engines) == 2
    with torch.no_grad():
        next(model.parameters()).mul_(2.0)
    rebuilt = engines.engine(model, "cpu", "fp32", False)
    assert rebuilt is not built[0] and engines.engines == [rebuilt]
    assert len(copy.deepcopy(engines)) == 0 and len(pickle.loads(pickle.dumps(engines))) == 0
    with pytest.raises(ValueError, match="no such precision"):
        engines.engine(model, "cpu", "none", False)  # type: ignore[arg-type]
    assert engines.engine(model, "cpu", "fp32", False) is rebuilt and engines.engine(model, "cpu", "bf16", False)
    with torch.inference_mode():
        uncounted = made({"animal": BRANCHES["animal"]}, "test_resnet")
    engines = ModelEngines()
    assert engines.engine(uncounted, "cpu", "fp32", False) is not engines.engine(uncounted, "cpu", "fp32", False)
    assert len(engines) == 0


class Attentive(nn.Module):
    """It lists its parts, calls one twice, reads a parameter, and keeps something that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.act, self.scale, self.seen = nn.ReLU(), nn.Parameter(torch.rand(4, 1, 1)), {}  # type: ignore[var-annotated]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.seen[str(maps.device)] = maps
        for part in self.parts:
            maps = self.act(part(maps)) + maps
        return maps * (self.scale * 2)


def test_a_module_as_a_graph() -> None:
    module, maps = Attentive().eval(), torch.rand(2, 4, 5, 5)
    graph = trace(module)
    targets = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    assert targets == ["parts.0", "act", "parts.1", "act"]
    assert module.seen == {}, "the module itself is not touched"
    assert graph.get_submodule("parts.0") is module.parts[0]
    with torch.no_grad():
        torch.testing.assert_close(graph(maps), module(maps))


def test_options_that_mean_the_same_share_an_engine(
    monkeypatch: pytest.MonkeyPatch, pictures: list[np.ndarray]
) -> None:
    monkeypatch.setattr("vertebra.inference.devices.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("vertebra.inference.devices.torch.backends.mps.is_available", lambda: False)
    model = made({"animal": BRANCHES["animal"]}, "test_resnet")
    spelled: list[dict[str, Any]] = [
        {}, {"device": None}, {"device": "cpu"}, {"device": torch.device("cpu")}, {"precision": "fp32"}, {"compile": False},
    ]  # fmt: skip
    for options in spelled:
        model.predict(pictures[0], **options)
    assert len(model._engines) == 1
    model.predict(pictures[0], precision="bf16", device="cpu")
    assert len(model._engines) == 2
