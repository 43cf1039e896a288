"""The benchmarks still run: their tables and files, and the cheapest case of each. No time is looked at."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the package beside src and tests

from benchmarks import __main__ as every  # noqa: E402
from benchmarks import (  # noqa: E402
    attributes,
    augmentation,
    calibration,
    inference,
    label_scope,
    loading,
    mask_decoders,
    memory,
    mirroring,
    multitask,
    opening,
    ours,
    pairs,
    peers,
    precision,
    prediction_overhead,
    report,
    scoring,
    startup,
    synthetic,
    tracking,
    training,
    training_clock,
    training_loop,
    training_ours,
    training_peers,
    training_step,
    waiting,
    wrong_boxes,
    wrong_labels,
    wrong_masks,
    wrong_points,
)
from benchmarks.drawn_sets import DRAWN_SETS  # noqa: E402
from benchmarks.measure import in_turns, spent  # noqa: E402
from benchmarks.synthetic import canvases, ground_truth  # noqa: E402
from vertebra.demo.files import SceneCounts, write_scenes  # noqa: E402
from vertebra.tasks.detect.annotation import DetectAnnotation  # noqa: E402
from vertebra.tasks.detect.labels import DetectLabels  # noqa: E402
from vertebra.tasks.detect.types import DetectPrediction  # noqa: E402
from vertebra.tasks.keypoints.annotation import KeypointAnnotation  # noqa: E402
from vertebra.tasks.keypoints.labels import KeypointLabels  # noqa: E402
from vertebra.tasks.keypoints.types import KeypointPrediction  # noqa: E402
from vertebra.tasks.segment.labels import SegmentLabels  # noqa: E402
from vertebra.tasks.segment.types import SegmentPrediction  # noqa: E402

SMALL = (64, 64)


@pytest.fixture(autouse=True)
def _children_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a benchmark starts find its package."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))


def test_turns_alternate_and_the_first_ones_do_not_count() -> None:
    order: list[str] = []
    found = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2, warm=1)
    assert order == ["a", "b"] * 3
    assert {name: own.count for name, own in found.items()} == {"a": 2, "b": 2}


def test_a_turn_goes_on_and_its_first_call_does_not_count() -> None:
    ticks = iter([0.0, 0.3, 0.3, 0.4, 0.4, 0.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: next(ticks))
        found = in_turns({"a": lambda: None}, repeats=1, warm=0, turn=0.45)
    assert found["a"].count == 2 and found["a"].median == pytest.approx(0.1)


def test_medians_and_quartiles() -> None:
    assert spent([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)
    assert spent([5.0]) == (5.0, 5.0, 5.0, 1)


def test_a_table_has_a_dash_for_what_a_row_lacks() -> None:
    rows: list[report.Row] = [
        {"work": "one", "milliseconds": {"peer": {"median": 12.34}}, "times": {"fp32": 1.5}},
        {"work": "two", "milliseconds": {}, "times": {}},
    ]
    columns: report.Columns = {
        "work": lambda row: row["work"],
        "peer": report.ms("milliseconds", "peer"),
        "both": report.beside(report.ms("milliseconds", "peer"), report.times("times", "fp32")),
    }
    assert report.table(rows, columns).splitlines() == [
        "| work | peer | both |",
        "|---|---|---|",
        "| one | 12.3 ms | 12.3 ms (1.50) |",
        "| two | - | - |",
    ]


def test_the_file_says_what_was_measured_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = argparse.Namespace(out=tmp_path / "new" / "found.json", repeats=3, device="cpu")
    path = report.finish("some", [{"work": "one"}], {"work": lambda row: row["work"]}, given, ["A note."])
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["rows"] == [{"work": "one"}] and kept["notes"] == ["A note."] and kept["benchmark"] == "some"
    assert kept["options"]["repeats"] == 3
    assert kept["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert kept["machine"]["threads"] == torch.get_num_threads() and kept["machine"]["processor"]
    assert {"date", "commit"} <= set(kept)
    assert "| one |" in capsys.readouterr().out


def test_the_processor_is_read(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some Chip 3000\nflags\t\t: fpu avx2 amx_bf16\n\nmodel name\t: Some Chip 3000\n")
    assert report.processor(info) == ("Some Chip 3000", {"fpu", "avx2", "amx_bf16"})


def test_answers_that_differ_are_refused() -> None:
    assert pairs.require_equal("some", 1e-6) == 1e-6
    with pytest.raises(AssertionError, match=r"some: our answers differ from the peer's by 1.0e-02"):
        pairs.require_equal("some", 0.01)


def test_prediction_in_each_runtime(tmp_path: Path) -> None:
    case = inference.ParityCase(lambda: pairs.classify("timm", "test_resnet", SMALL), SMALL, (1, 2))
    there = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is not None]
    runtimes = ["torch", *(name.removesuffix("runtime") for name in there)]
    if importlib.util.find_spec("onnxscript") is None or "onnx" not in runtimes:
        runtimes = ["torch"]
    rows = list(inference.compare("timm test_resnet", case, 1, runtimes, threads=1))
    assert [row["work"] for row in rows] == ["timm test_resnet", "timm test_resnet x2"]
    for row in rows:
        assert {way.partition(" ")[0] for way in row["times"]} == set(runtimes)
        assert all(value < 1e-4 for value in row["difference"].values())
        assert all(value > 0.9 for value in row["agreement"].values())
        assert row["peer_size"]["million_parameters"] == pytest.approx(row["our_size"]["million_parameters"])
        row["share_of_peak"] = inference.shares(row, {"fp32": 100.0})
        assert 0 < row["share_of_peak"]["torch fp32"] < 1
        assert {way.rpartition(" ")[2] for way in row["share_of_peak"]} == {"fp32"}
    table = report.table(rows, inference.columns(rows))
    assert "timm test_resnet x2" in table and "share of peak (torch fp32)" in table


def test_a_model_whose_answers_differ_is_told_and_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> pairs.Pair:
        return pairs.classify("timm", "test_resnet", SMALL)._replace(limit=0.0, differ=lambda *given: 0.5)

    cases = {
        "wrong": inference.ParityCase(build, SMALL),
        "right": inference.ParityCase(lambda: build()._replace(limit=1.0), SMALL),
    }
    monkeypatch.setattr(inference, "CASES", cases)
    monkeypatch.setattr(inference, "peak", lambda *given: 100.0)
    out = tmp_path / "found.json"
    assert inference.main(["--runtimes", "torch", "--repeats", "1", "--out", str(out)]) == 1
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert [row["work"] for row in kept["rows"]] == ["right"]
    assert kept["notes"][-1].startswith("Not timed: wrong, torch fp32: our answers differ")


def test_a_detector_is_compared_box_by_box() -> None:
    pair = pairs.detect("ssdlite320_mobilenet_v3_large", (320, 320))
    images = canvases(1, (320, 320))
    assert pair.differ is not None
    with torch.inference_mode():
        found, theirs = pair.ours(images), pair.call(images)
        assert pair.differ(found, theirs) < 1e-4
        moved = [{**own, "boxes": own["boxes"] + 3.2} for own in theirs]
        assert pair.differ(found, moved) > 1e-3


def small_classifier(size: tuple[int, int]) -> training_step.Work:
    return training_step.classify("timm", "test_resnet", size)


def test_training_steps_have_equal_losses() -> None:
    row = training_step.compare("timm test_resnet", training_step.ParityCase(small_classifier, SMALL, 4), 1)
    assert row["same"] and {"fp32", "default recipe"} <= set(row["times"])
    first = row["first_loss"]["fp32"]
    assert first["ours"] == pytest.approx(first["peer"], rel=1e-4)
    assert "timm test_resnet" in report.table([row], training_step.columns("cpu"))


def test_losses_that_differ_are_refused() -> None:
    def build(size: tuple[int, int]) -> training_step.Work:
        work = small_classifier(size)
        with torch.no_grad():
            work.ours.branch("classify").decoder.classifier.bias[0] += 3.0  # type: ignore[union-attr, operator, index]
        return work

    with pytest.raises(AssertionError, match="test_resnet: losses"):
        training_step.compare("test_resnet", training_step.ParityCase(build, SMALL, 2), 1)


def test_training_moves_our_weights_by_the_recipe() -> None:
    work = small_classifier(SMALL)
    batch = ours.batch_of("classify", canvases(2, SMALL), ground_truth("classify", 2, SMALL, work.classes))
    found = ours.train(work.ours, batch, ours.recipe(lr=1e-3), 4)
    assert len(found.seconds) == len(found.losses) == 4
    assert found.losses[-1] < found.losses[0] and found.optimizer.startswith("AdamW")


def test_one_pass_answers_as_three_models() -> None:
    rows = multitask.compare((64, 96), 1)
    names = [multitask.THREE, multitask.APART, multitask.SAME, multitask.LIGHTER]
    assert [row["name"] for row in rows[:4]] == names
    half = [f"{name}, bf16" for name in names[2:]] if report.has_bf16() else []
    assert [row["name"] for row in rows[4:]] == half
    assert max(rows[2]["difference"].values()) < 1e-4
    assert rows[3]["megabytes"] < rows[2]["megabytes"] < 0.6 * rows[0]["megabytes"]
    assert multitask.SAME in report.table(rows, multitask.COLUMNS)


def test_memory_is_that_of_another_process() -> None:
    case = memory.ParityCase("classify", "timm", "test_resnet", SMALL, 2, 1000)
    kinds = {"predicting": memory.predicting}
    row = memory.compare("timm test_resnet", case, 1, kinds, device="cpu", threads=1)
    own = row["megabytes"]["predicting"]
    assert 50 < own["peer"] < 5000 and 50 < own["ours"] < 5000
    assert row["ours_of_peer"]["predicting"] == pytest.approx(own["ours"] / own["peer"])
    assert "(" in report.table([row], memory.columns(kinds))


def test_scores_are_those_of_coco() -> None:
    pytest.importorskip("pycocotools")
    row = scoring.compare(scoring.make(12), 1)
    assert row["images"] == 12 and 20 < row["objects"] < 200
    assert row["difference"]["ours"] <= 1e-5
    assert 0.05 < row["scores"]["ours"]["map"] < 0.9
    assert "pycocotools" in report.table(scoring.spread(row), scoring.COLUMNS)


def test_augmentations_take_turns_with_torchvision() -> None:
    rows = augmentation.compare(2, 1, names=("photometric distortion", "IoU crop, onto 300x300", "noise"))
    assert [row["name"] for row in rows] == ["photometric distortion", "IoU crop, onto 300x300", "noise"]
    assert all(row["ratio"] > 0 for row in rows)


def test_loading_counts_images() -> None:
    rows = loading.compare(8, 1, size=(96, 128))
    assert [row["name"] for row in rows] == list(loading.TASKS)
    assert all(row["images_a_second"] > 0 for row in rows)


def test_loading_is_compared_with_torchvision() -> None:
    rows = loading.beside_torchvision(8, 1, 75, None)
    assert len(rows) == 9 and all(row["ratio"] > 0 and row["bytes"] > 0 for row in rows)
    assert "reduced" in report.table(rows, loading.COLUMNS)


def test_processes_that_fail_say_so() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        startup.run(startup.python("raise SystemExit('no such thing')"), os.environ)


def test_the_peak_of_a_process_and_whether_it_loads_torch() -> None:
    size, loaded = startup.peak(startup.python(startup.VERTEBRA, "--help"), os.environ)
    assert 10 < size < 200 and not loaded


def test_precisions_train_side_by_side(tmp_path: Path) -> None:
    write_scenes(tmp_path, SceneCounts(classes=0, boxes=0, masks=4, val=2, test=2))
    out = tmp_path / "rows.json"
    recipe = ["model.backbone.name=test_resnet", "train.image_size=[64, 64]", "train.batch_size=2"]
    given = [
        "segment",
        "--data",
        str(tmp_path / "regions"),
        "--epochs",
        "1",
        "--repeats",
        "2",
        "--out",
        str(out),
        *recipe,
    ]
    precision.main(given)
    kept = json.loads(out.read_text())
    assert [row["precision"] for row in kept["rows"]] == ["32", "bf16-mixed"]
    assert all(len(row["metric"]) == 2 and min(row["minutes"]) > 0 for row in kept["rows"])
    assert "The means are" in kept["notes"][0]


def test_types_are_trained_as_classes_and_as_an_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vertebra.training.execution.write_run_report", lambda *given: None)
    write_scenes(tmp_path, SceneCounts(classes=0, boxes=4, masks=0, val=2, test=2))
    out = tmp_path / "rows.json"
    recipe = ["model.backbone.name=test_resnet", "train.image_size=[64, 64]", "train.batch_size=2", "train.workers=0"]
    attributes.main(["--data", str(tmp_path / "boxes"), "--epochs", "1", "--out", str(out), *recipe])
    direct, joint = json.loads(out.read_text())["rows"]
    assert direct["scores"].keys() == {key for key in joint["scores"] if key.startswith("cells/")}
    assert "kind/joint_map_50" in joint["scores"] and joint["map_50"] == [joint["scores"]["kind/joint_map_50"]]
    assert joint["relative_time"] == pytest.approx(joint["prediction"]["median"] / direct["prediction"]["median"])


def test_probabilities_are_read_from_both() -> None:
    objects = [{"class_name": "b", "class_id": 1, "score": 0.75}, {"class_name": "a", "class_id": 0, "score": 0.25}]
    said: Any = [{"classify": {"task": "classify", "objects": objects, "probabilities": {"a": 0.25, "b": 0.75}}}]
    assert startup.probabilities(json.dumps(said)) == startup.probabilities("[0.25, 0.75]") == [0.25, 0.75]


def test_all_are_known_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = every.options(["memory", "--repeats", "2", "--out", str(tmp_path)])
    file = str(tmp_path / f"{report.today()}_memory.json")
    assert every.commands(given) == [
        [sys.executable, "-m", "benchmarks.memory", "--out", file, "--repeats", "2"],
    ]
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "\ndef main(" in path.read_text()}
    assert scripts - {"__main__", *every.WITH_DATA} == set(every.BENCHMARKS)
    for name, message in {"decoders": "needs a data set", "memry": "no benchmark 'memry'"}.items():
        with pytest.raises(SystemExit):
            every.options([name])
        assert message in capsys.readouterr().err


def test_peers_are_built_without_anything_of_ours() -> None:
    for module in (peers, synthetic, training_clock, training_loop, training_peers):
        assert "import vertebra" not in inspect.getsource(module) and "from vertebra" not in inspect.getsource(module)
    assert peers.logits(peers.classifier("timm", "test_resnet"), canvases(1, SMALL)).shape == (1, 1000)


def test_prediction_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"backbone": "test_resnet", "decoder": "linear", "image_size": (32, 32)}
    monkeypatch.setattr(prediction_overhead, "CASES", {"small": small})
    row = prediction_overhead.compare("small", 1)
    spent = {name: found["median"] for name, found in row["milliseconds"].items()}
    assert 0 < spent["noticing changes"] < spent["whole prediction"]
    assert spent["preparation, not compared"] > 0 < spent["preparation"]
    first = report.table([row], prediction_overhead.columns()).splitlines()[0]
    assert first.startswith("| work | noticing changes | predict without the model | whole prediction |")


def test_decoders_of_masks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_decoders, "OBJECTS", (2, 4))
    rows = mask_decoders.compare("test_resnet", (64, 64), repeats=1)
    assert [row["name"] for row in rows] == ["mask_rcnn", "condinst"]
    assert all(set(row["branch"]) == {"2", "4"} and row["model"]["median"] > 0 for row in rows)


def test_waiting_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waiting.measured("predict", "passive", 1, share=0.05)
    assert len(found) == 2 and min(found) > 0
    monkeypatch.setattr(waiting, "measured", lambda *given: found)
    rows = waiting.compare(1, 1)
    assert len(rows) == 4 * len(waiting.WAYS) and all(row["times"] == 1 for row in rows)
    assert report.table(rows, waiting.COLUMNS).splitlines()[0].startswith("| work | other processes | waiting |")


def test_a_coco_file_is_opened_twice(tmp_path: Path) -> None:
    data = opening.write_coco(tmp_path / "data", 50, 20_000)
    assert (data / opening.NAME).stat().st_size > 4_000_000  # it is cached
    row = opening.measure(data, "detect", 1)
    assert row["images"] == 45 and row["index_mb"] > 0 and row["again"]["peak_mb"] > 0
    assert report.table([row], opening.COLUMNS).startswith("| task | first | again |")


def test_a_crowd_is_tracked() -> None:
    rows = tracking.compare("10 objects", 12, 1)
    assert [row["tracker"] for row in rows] == ["bytetrack", "ocsort"] and min(row["hota"] for row in rows) > 0.5
    assert report.table(rows, tracking.COLUMNS).startswith("| crowd | tracker | a frame | IDF1 | HOTA |")


def test_faces_are_trained_with_and_without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vertebra.training.execution.write_run_report", lambda *given: None)
    rows = mirroring.compare(1, count=20, epochs=1)
    assert [row["name"] for row in rows] == list(mirroring.LABELS)
    assert report.table(rows, mirroring.COLUMNS).startswith("| flip_pairs | NME | PCK |")


def test_promised_thresholds_keep_their_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat([0, 1], 60)
    embeddings = np.random.default_rng(0).normal(size=(120, 3)) + 2 * labels[:, None]
    monkeypatch.setattr(calibration, "read", lambda *given: (embeddings, labels, ["a", "b"]))
    images, names = calibration.classified(Path("set"), None)
    rows = calibration.compare("set", images, names, 20, binary=True)
    assert [row["class"] for row in rows] == ["a"] * 3 + ["b"] * 3 and rows[1]["images"] == 60
    assert all(row["kept"] >= 0.9 for row in rows if row["stored"]) and rows[1]["stored"] > 0
    assert report.table(rows, calibration.COLUMNS).startswith("| data | class | images | objects | promise |")


def test_wrong_labels_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_labels.recall_at([3, 0, 1, 2], np.array([True, True, False, False])) == 0.5 + 0.5
    assert wrong_labels.recall_at([2, 3, 0], np.array([True, True, False, False])) == 0
    assert wrong_labels.recall_at([], np.array([True])) == 0
    labels = np.repeat([0, 1], 40)
    assert (wrong_labels.exchange(labels, 2, 0.1, 0) != labels).sum() == 8
    embeddings = np.random.default_rng(0).normal(size=(80, 3)) + 4 * labels[:, None]
    monkeypatch.setattr(wrong_labels, "read", lambda *given: (embeddings, labels, ["a", "b"]))
    rows = wrong_labels.compare(Path("set"), None, None, 2)
    assert [row["share"] for row in rows] == [0.05, 0.05, 0.1, 0.1] and min(rows[0]["recalls"]) == 1
    assert report.table(rows, wrong_labels.COLUMNS).startswith("| data | images | probe's accuracy | exchanged |")


def test_wrong_boxes_are_listed() -> None:
    corners = 200 * np.arange(10, dtype=np.float32)[:, None] + np.array([0, 5], dtype=np.float32)
    boxes = np.concatenate([corners, corners + 50], axis=1)
    ids = np.arange(10) % 2
    scores = np.full(10, 0.9, dtype=np.float32)
    predictions = [DetectPrediction(boxes, scores, ids, DetectLabels(("a", "b")))] * 4
    annotations = [DetectAnnotation(boxes, ids, np.zeros(10, dtype=bool))] * 4
    changed, damages = wrong_boxes.damaged(annotations, 2, 0.05, 0)
    assert [damage.kind for damage in damages] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sum(len(each.labels) for each in changed) == 40 and (annotations[0].boxes == boxes).all()
    measured = wrong_boxes.measure(predictions, annotations, 0.05, 0)
    assert measured["all"] >= 0.75 and measured["taken away"] == measured["another class"] == measured["added"] == 1
    row = {"data": "set", "images": 4, "objects": 40, "share": 0.05, "repeats": [measured]}
    assert report.table([row], wrong_boxes.columns()).startswith("| data | images | objects | damaged in each way |")


def test_wrong_regions_are_listed() -> None:
    mask = np.zeros((60, 80), dtype=np.int64)
    mask[10:20, 10:20], mask[30:50, 40:60], mask[:, 76:] = 1, 2, 255
    labels = SegmentLabels(("a", "b", "c"))
    sure = np.where(np.where(mask == 255, 0, mask) == np.arange(3)[:, None, None], 0.9, 0.05).astype(np.float32)
    predictions = [SegmentPrediction(sure.argmax(axis=0), labels, sure)] * 12
    changed, damages = wrong_masks.damages_of([mask] * 12, 0.5, 3, 255, 0)
    assert [damage.kind for damage in damages] == [0, 1, 2, 0, 1, 2] and len({damage.image for damage in damages}) == 6
    assert [image for image in range(12) if (changed[image] != mask).any()] == sorted(each.image for each in damages)
    assert all((each[mask == 255] == 255).all() for each in changed)
    row = wrong_masks.ours(predictions, changed, damages)
    assert row.pop("name") == "ours" and row["images"] == row["missing"] == row["another class"] == 1
    rows = [{"data": "set", "images": 12, "share": 0.5, "name": "ours", "repeats": [row]}]
    assert report.table(rows, wrong_masks.columns()).startswith("| data | images | damaged | list |")
    assert wrong_masks.hits([wrong_masks.Entry(damages[0].image, (0, 0, 3, 3))], damages).tolist() == [-1]


def test_wrong_points_are_listed() -> None:
    names = ("left_eye", "right_eye", "tail", "nose")
    labels = KeypointLabels(("mouse",), points=names, flip_pairs=((0, 1),))
    points = np.array([[[20, 20], [80, 20], [50, 90], [50, 10]]], dtype=np.float32)
    boxes, one = np.array([[0, 0, 100, 100]], dtype=np.float32), np.ones(1, dtype=np.float32)
    prediction = KeypointPrediction(points, np.full((1, 4), 0.9, np.float32), boxes, one, np.zeros(1, np.int64), labels)
    visible = np.concatenate([points, np.full((1, 4, 1), 2, dtype=np.float32)], axis=-1)
    annotation = KeypointAnnotation(visible, boxes, np.zeros(1, np.int64), np.zeros(1, dtype=bool), 10_000 * one)
    changed, damages = wrong_points.damaged([annotation] * 30, labels.flip_pairs or (), 0.1, 0)
    assert np.bincount(list(damages.values())).tolist() == [3, 3, 3] and (annotation.points == visible).all()
    assert sum((each.points != visible).any() for each in changed) == 9
    measured = wrong_points.measure([prediction] * 30, [annotation] * 30, 0.1, 0)
    assert measured["all"] == 1 and measured["entries"] == 9
    row = {"data": "set", "objects": 30, "share": 0.1, "repeats": [measured]}
    assert report.table([row], wrong_points.columns()).startswith("| data | objects | damaged in each way |")


def test_a_clock_leaves_out_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 7.0, 8.0, 9.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    clock = training_clock.Clock()
    with clock.stopped():  # from 2 to 7
        with clock.stopped():
            assert clock.seconds == 2
        assert clock.seconds == 2
    assert clock.seconds == 3


def test_a_curve_is_measured_once_for_the_shares_that_are_passed() -> None:
    curve = training_clock.Curve(lambda model: {"map": model}, (0.2, 0.4, 0.6))
    for steps, share in enumerate((0.1, 0.45, 0.5, 0.6)):
        curve.reach(share, steps, share)
    assert [(point.steps, point.metrics["map"]) for point in curve.points] == [(1, 0.45), (3, 0.6)]
    points = [point._replace(seconds=seconds) for point, seconds in zip(curve.points, (10.0, 30.0), strict=True)]
    assert training_clock.seconds_to(points, "map", 0.4) == 10
    assert training_clock.seconds_to(points, "map", 0.6) == 30
    assert training_clock.seconds_to(points, "map", 0.7) is None


def test_epochs_are_fitted_to_the_minutes() -> None:
    trial = training_ours.Trial()
    trial.epochs, trial.steps_per_epoch = 20, 10
    trial.ends = [5.0, 6.0, 6.5, 7.0]  # half a second a step, once warm
    assert trial.fitting_epochs(36.0) == 6
    assert trial.fitting_epochs(5000.0) == 20
    assert trial.fitting_epochs(1.0) == 1


def peer_data(*targets: Any) -> training_loop.PeerData:
    return training_loop.PeerData([Path("none")] * len(targets), targets, 2, SMALL)


def test_schedules_of_peers_follow_their_recipes() -> None:
    detector = training_peers.TorchvisionDetector.factor(None, 0.5, 100, 50)  # type: ignore[arg-type]
    assert detector == pytest.approx(1.0)
    assert training_peers.TorchvisionDetector.factor(None, 0.7, 100, 50) == pytest.approx(0.1)  # type: ignore[arg-type]
    assert training_peers.TorchvisionDetector.factor(None, 0.9, 100, 50) == pytest.approx(0.01)  # type: ignore[arg-type]
    assert training_peers.TorchvisionDetector.factor(None, 0.0, 0, 50) == pytest.approx(0.001)  # type: ignore[arg-type]
    classifier = training_peers.TimmClassifier(peer_data(*[0, 1] * 100))  # an eighth: 25 images
    assert classifier.batch_size == 16
    assert classifier.optimizer().param_groups[0]["lr"] == pytest.approx(0.1 * 16 / 256)
    assert classifier.factor(0.0, 0, 12) == pytest.approx(1e-5 / 0.00625)
    assert classifier.factor(0.5, 6, 12) == pytest.approx(0.25, rel=0.01)  # half of the first epoch
    assert classifier.factor(0.5, 20, 12) == pytest.approx(0.5) and classifier.factor(1.0, 20, 12) == pytest.approx(0)
    options = training_peers.TimmClassifier(peer_data(*[0, 1] * 8), adamw=True).optimizer()
    assert isinstance(options, torch.optim.AdamW) and options.param_groups[0]["lr"] == 1e-4


@pytest.mark.parametrize("task", ["detect", "segment", "keypoints"])
def test_peers_are_trained_and_predict(task: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file in files:
        Image.fromarray(generator.integers(0, 255, (48, 80, 3), dtype=np.uint8)).save(file)
    targets = {
        "detect": (np.array([[5, 5, 40, 40], [3, 3, 3, 9]], np.float32), np.array([1, 0])),
        "segment": generator.integers(0, 2, (48, 80)),
        "keypoints": np.array([[10, 10, 2], [70, 40, 1], [0, 0, 0]], np.float32),
    }
    data = training_loop.PeerData(files, [targets[task]] * 2, 2, SMALL)
    labels = {
        "detect": DetectLabels(("a", "b")),
        "segment": SegmentLabels(("a", "b")),
        "keypoints": KeypointLabels(("a", "b"), points=("p", "q", "r")),
    }
    curve = training_clock.Curve(lambda peer: {"files": len(training_loop.predictions(peer, files))})
    build = next(iter(training_peers.PEERS[task].values()))
    peer = training_loop.train(lambda: build(data), 1e-3, curve, seed=0, workers=0)
    assert [point.steps for point in curve.points] == [1]
    prediction = training.as_prediction(task, training_loop.predictions(peer, files)[0], labels[task])
    assert prediction.task == task
    if task == "segment":
        assert prediction.mask.shape == (48, 80)  # type: ignore[attr-defined]


def test_boxes_of_a_peer_are_mirrored_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    image = Image.new("RGB", (80, 48))
    image.putpixel((10, 7), (255, 255, 255))
    target = (np.array([[10, 7, 11, 8]], np.float32), np.array([1]))
    pixels, labeled = training_peers.TorchvisionDetector.example(None, image, target)  # type: ignore[arg-type]
    left, top = labeled["boxes"][0, :2].int().tolist()
    assert pixels[:, top, left].tolist() == [1, 1, 1] and labeled["labels"].tolist() == [2]


def test_points_of_a_peer_move_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)  # scaled by 1.1, shifted by 5 %
    peer = training_peers.PointRegressor(peer_data(np.zeros((1, 3))))
    pixels = torch.zeros(3, 64, 64)
    pixels[:, 38:42, 28:32] = 1.0
    monkeypatch.setattr(peer, "_jitter", lambda given: pixels)
    changed, (points, known) = peer.example(Image.new("RGB", (128, 128)), np.array([[60.0, 80.0, 2.0]]))
    bright = (changed[0] > 0).nonzero().float().mean(dim=0) + 0.5
    assert (points[0] * 64 - bright.flip(0)).abs().max() < 1 and known.tolist() == [True]


def test_training_beside_a_peer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vertebra.training.execution.write_run_report", lambda *given: None)
    name = training.DRAWN["classify"]
    small = dataclasses.replace(DRAWN_SETS[name], splits={"train": 8, "val": 3, "test": 3})
    monkeypatch.setitem(DRAWN_SETS, name, small)  # type: ignore[arg-type]
    out = tmp_path / "rows.json"
    given = ["--task", "classify", "--seeds", "1", "--size", "32", "32", "--minutes", "0.001", "--workers", "0"]
    peer = "timm train.py, AdamW 1e-4"  # the rate of the other makes so small a network diverge
    training.main([*given, "--peer", peer, "--out", str(out), "model.backbone.name=test_resnet"])
    (row,) = json.loads(out.read_text())["rows"]
    assert row["size"] == [32, 32] and row["images"] == 8 and row["epochs"] == 1
    for side in ("ours", "theirs"):
        (trained,) = row[side]
        assert trained["seconds"] > 0 and 0 <= trained["metrics"]["accuracy"] <= 1
        assert trained["points"][-1]["metrics"] == trained["metrics"]
    assert f"| {peer} | accuracy " in capsys.readouterr().out


def test_a_peer_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        training.parsed(["--task", "segment", "--peer", "timm train.py"])
    assert "no peer 'timm train.py' for segment; there are smp Unet" in capsys.readouterr().err


def test_label_scope_gives_each_third_one_class(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    entries = [{"id": number, "file_name": f"{number}.png", "height": 8, "width": 8} for number in range(6)]
    for entry in entries:
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / str(entry["file_name"]))
    boxes = [{"id": n, "image_id": n // 2, "category_id": n % 2, "bbox": [1, 1, 4, 4]} for n in range(12)]
    content = {"images": entries, "annotations": boxes, "categories": [{"id": n, "name": "ab"[n]} for n in range(2)]}
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    lists = label_scope.write_lists(tmp_path, tmp_path, 0)
    assert {name: len(file.read_text().split()) for name, file in lists.items()} == {"a": 3, "b": 3}
    kinds = {kind: label_scope.sources(tmp_path, lists, kind)[0] for kind in label_scope.KINDS}
    assert kinds["naive"]["drop_classes"] == ["b"] and kinds["scoped"]["annotated"] == ["a"]
    assert set(kinds["full"]) == {"path", "lists"}
    assert label_scope.share({"full": 0.8, "naive": 0.4, "scoped": 0.7}) == pytest.approx(0.75)
