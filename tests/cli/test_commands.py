"""The command line, called as a user calls it: what it prints where, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

import vertebra
from vertebra.cli.main import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def vertebra_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: Any) -> Ended:
        monkeypatch.setattr("sys.argv", ["vertebra", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


def images(scenes: Path) -> Path:
    return scenes / "regions" / "images" / "test"


# --- what works ---------------------------------------------------------------------------------------------------------


def test_version_and_help(vertebra_command: Command) -> None:
    assert vertebra_command("--version").out.strip() == vertebra.__version__
    shown = vertebra_command("--help").out
    for command in (
        "demo",
        "import",
        "train",
        "eval",
        "predict",
        "export",
        "describe",
        "parts",
        "data",
        "runs",
        "report",
    ):
        assert command in shown


def test_the_help_of_eval_has_the_defaults(vertebra_command: Command) -> None:
    shown = " ".join(vertebra_command("eval", "--help").out.split())
    assert "by default the one stored by benchmark, else torch" in shown
    assert "model.evaluate() in Python has val" in shown


def test_import_and_go_on_from_there(vertebra_command: Command, scenes: Path, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t", num_classes=2).state_dict(), tmp_path / "theirs.safetensors")
    model = tmp_path / "model.safetensors"
    ended = vertebra_command("import", "timm:resnet10t", "--weights", tmp_path / "theirs.safetensors", "--out", model)
    assert ended.code == 0, ended.err
    assert "branches: classify (2 classes); license: apache-2.0" in ended.out
    assert "backbone: " in ended.err and "left over: nothing" in ended.err
    again = vertebra_command("import", "timm:resnet10t", "--weights", tmp_path / "theirs.safetensors", "--out", model)
    assert again.code == 2 and "nothing is overwritten" in again.err
    wrong = vertebra_command("import", "resnet10t", "--out", tmp_path / "other.safetensors")
    assert wrong.code == 2 and "write LIBRARY:NAME" in wrong.err
    ended = vertebra_command(
        "train", "--from", model, "--data", scenes / "animals", "--epochs", 1, "--batch-size", 6, "--image-size", "48x64",
        "--out", tmp_path / "run", "train.workers=0",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "start: newly initialized: branches.classify.decoder.classifier" in ended.err
    mixed = vertebra_command("train", "--from", model, "--data", scenes / "animals", "--backbone", "resnet18")
    assert mixed.code == 2 and "--from loads the whole model" in mixed.err


def test_one_line_trains_evaluates_and_predicts(vertebra_command: Command, scenes: Path, tmp_path: Path) -> None:
    run, pictures = tmp_path / "cells", tmp_path / "pictures"
    ended = vertebra_command(
        "train", "--data", scenes / "boxes", "--task", "detect", "--backbone", "mobilenetv2_035", "--pretrained", "false",
        "--neck", "fpn", "--decoder", "retinanet", "--epochs", 1, "--batch-size", 6, "--image-size", "48x64", "--out", run,
        "train.workers=0",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "random" in ended.err, "a run says from which weights it starts"
    ended = vertebra_command("eval", run, "--split", "test", "--json")
    scores = json.loads(ended.out)
    assert {"detect/map", "detect/map_50"} <= set(scores), "one JSON object, keys branch/metric, and nothing else"
    ended = vertebra_command("predict", run, images(scenes), "--out", pictures, "--json", "--threshold", 0.0)
    found = json.loads(ended.out)
    assert len(found) == len(list(pictures.iterdir())) == 5 and "5 pictures" in ended.err
    assert set(found[0]) == {"image", "height", "width", "detect", "pictures"}
    assert (found[0]["height"], found[0]["width"]) == (48, 64)
    assert [row["pictures"]["detect"] for row in found] == [str(path) for path in sorted(pictures.iterdir())]
    again = vertebra_command("predict", run, images(scenes), "--out", pictures)
    assert again.code == 0 and len(list(pictures.iterdir())) == 10, "pictures are not overwritten"
    assert "neck fpn" in vertebra_command("describe", run).out


def test_a_config_with_overrides(
    vertebra_command: Command, three_branches: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farm.yaml").write_text(yaml.safe_dump(three_branches))
    ended = vertebra_command(
        "train", "farm.yaml", "train.epochs=1", "train.lr=0.002", "--seed", 4, "--out", "runs/farm"
    )
    assert ended.code == 0, ended.err
    kept = yaml.safe_load(Path("runs/farm/config.yaml").read_text())
    assert (kept["train"]["epochs"], kept["train"]["lr"], kept["train"]["seed"]) == (1, 0.002, 4)
    assert "branch regions" in vertebra_command("describe", "farm.yaml").out
    done = vertebra_command("train", "--resume", "runs/farm")
    assert done.code == 0 and "all 1 epochs are done" in done.err


def test_eval_shows_a_table(vertebra_command: Command, finished: Path) -> None:
    lines = vertebra_command("eval", finished, "--split", "val").out.splitlines()
    assert any(line.startswith("animal/accuracy ") for line in lines)


def test_report_writes_a_page(vertebra_command: Command, finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ended = vertebra_command("report", finished, "--split", "test", "--branch", "animal", "--out", page)
    assert ended.code == 0 and ended.out.strip() == str(page)
    text = page.read_text()
    assert "Branch animal on test" in text and "Branch boxes" not in text


def test_json_of_every_task(vertebra_command: Command, finished: Path, scenes: Path) -> None:
    (result,) = json.loads(vertebra_command("predict", finished, sorted(images(scenes).iterdir())[0], "--json").out)
    assert set(result) == {"image", "height", "width", "animal", "boxes", "regions"}


def test_predictions_as_lines_go_on(vertebra_command: Command, finished: Path, scenes: Path, tmp_path: Path) -> None:
    lines = tmp_path / "found.jsonl"
    first, *_ = sorted(images(scenes).iterdir())
    vertebra_command("predict", finished, first, "--jsonl", lines)
    ended = vertebra_command("predict", finished, images(scenes), "--jsonl", lines, "--precision", "bf16")
    assert ended.code == 2 and "computed in is fp32 there and bf16 by torch now" in ended.err
    ended = vertebra_command("predict", finished, images(scenes), "--jsonl", lines, "--batch-size", 3)
    count = len(list(images(scenes).iterdir()))
    assert f"1 of {count} images are in" in ended.err
    assert len({json.loads(line)["image"] for line in lines.read_text().splitlines()}) == count


def test_tiles(vertebra_command: Command, finished: Path, scenes: Path) -> None:
    image = sorted(images(scenes).iterdir())[0]
    (told,) = json.loads(
        vertebra_command("predict", finished, image, "--json", "--tile", 40, "--overlap", 0.3, "--threshold", 0).out
    )
    assert told["boxes"]["objects"] and told["regions"]["size"] == [48, 64]
    ended = vertebra_command("predict", finished, image, "--json", "--tile", 40, "--overlap", 1)
    assert ended.code == 2 and "'overlap' must be above 0" in ended.err


def test_an_exported_file_predicts(vertebra_command: Command, finished: Path, scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    told = vertebra_command("export", finished, "--out", file)
    assert told.code == 0 and "same as PyTorch within" in told.err and "images of any size" in told.err
    image = sorted(images(scenes).iterdir())[0]
    (ours,) = json.loads(vertebra_command("predict", file, image, "--json", "--threshold", "0.1").out)
    (theirs,) = json.loads(vertebra_command("predict", finished, image, "--json", "--threshold", "0.1").out)
    assert ours["animal"]["objects"][0]["class_name"] == theirs["animal"]["objects"][0]["class_name"]
    assert len(ours["boxes"]["objects"]) == len(theirs["boxes"]["objects"])
    ended = vertebra_command(
        "report", finished, file, "--data", scenes / "boxes", "--branch", "boxes", "--out", tmp_path / "both.html"
    )
    assert ended.code == 0 and "boxes/map_50" in (tmp_path / "both.html").read_text()
    ended = vertebra_command("predict", file, image, "--json", "--precision", "bf16")
    assert ended.code == 2 and "runs in the precision that it was exported in" in ended.err


def test_the_best_runtime_is_chosen_and_stored(
    vertebra_command: Command, finished: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runtimes; each further one would export a file of its own."""
    import shutil

    from vertebra.export import benchmark

    configs = benchmark.candidate_configs("cpu")
    assert {config.name for config in configs} >= {
        "torch fp32",
        "onnx fp32",
        "onnx int8",
        "openvino fp32",
        "openvino int8",
    }
    two = [config for config in configs if config.name in ("torch fp32", "onnx fp32")]
    monkeypatch.setattr(benchmark, "candidate_configs", lambda *arguments, **options: two)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    told = vertebra_command("benchmark", run, "--seconds", 0, "--labeled", 2, "--batch-size", 2, "--save", "--json")
    assert told.code == 0, told.err
    trials = {
        f"{trial['runtime_config']['runtime']} {trial['runtime_config']['precision']}": trial
        for trial in json.loads(told.out)
    }
    assert trials["torch fp32"]["agreement"] == 1.0 and not trials["onnx fp32"]["failure"]
    assert trials["onnx fp32"]["agreement"] > 0.99 and trials["onnx fp32"]["latency"] > 0
    assert 0 < trials["onnx fp32"]["memory"] < trials["torch fp32"]["memory"]
    assert sum(trial["best"] for trial in trials.values()) == 1
    chosen = next(name for name, trial in trials.items() if trial["best"])
    image = sorted(images(scenes).iterdir())[0]
    ended = vertebra_command("predict", run, image, "--json")
    assert ended.code == 0 and f"running in {chosen}" in ended.err
    ended = vertebra_command("predict", run, image, "--json", "--runtime", "onnx")
    assert ended.code == 0 and "exporting" not in ended.err, "the file of benchmark is used again"
    file = shutil.copy(next((run / "exported").glob("*-fp32.onnx")), run / "model.onnx")
    scores = [
        json.loads(vertebra_command("eval", *source, "--split", "val", "--json").out)
        for source in ((run, "--runtime", "torch"), (run, "--runtime", "onnx"), (file,))
    ]
    assert scores[1] == scores[2] and "boxes/loss" in scores[0] and "boxes/loss" not in scores[1]
    assert scores[1] == pytest.approx({name: scores[0][name] for name in scores[1]}, abs=1e-4)


def test_parts_are_listed(vertebra_command: Command) -> None:
    everything = json.loads(vertebra_command("parts", "--json").out)
    assert {part["name"] for part in everything["decoder"]} >= {"linear", "fcos", "retinanet", "unet"}
    assert "fpn" in vertebra_command("parts", "necks").out
    one = vertebra_command("parts", "retinanet").out
    assert "paper: " in one and "options:" in one
    assert "least number of anchors matched to each object" in one
    assert "stride 32" in vertebra_command("parts", "resnet10t").out
    assert "fc7" in vertebra_command("parts", "ssd_vgg16").out
    assert [part["kind"] for part in json.loads(vertebra_command("parts", "fpn", "--json").out)] == ["neck", "decoder"]


def test_anatomy_of_parts(vertebra_command: Command) -> None:
    shown = vertebra_command("describe", "resnet10t", "--neck", "fpn", "--decoder", "fcos", "--json").out
    assert json.loads(shown)["backbone"]["name"] == "resnet10t"


def test_a_data_set_is_checked(vertebra_command: Command, scenes: Path) -> None:
    report = vertebra_command("data", "check", scenes / "boxes", "--task", "detect")
    assert report.code == 0 and "train" in report.out
    shown = json.loads(vertebra_command("data", "check", scenes / "boxes", "--task", "detect", "--json").out)
    assert shown["format"] == "voc" and shown["splits"]["test"]["images"] == 5


# --- what ends with one line --------------------------------------------------------------------------------------------


BAD = {
    "nothing to train on": (("train",), "give a config, or --data"),
    "a missing data set": (("train", "--data", "nowhere", "--task", "detect"), "nowhere"),
    "an unknown task": (("train", "--data", ".", "--task", "detekt"), "Did you mean 'detect'"),
    "an unknown decoder": (
        ("train", "--data", "{scenes}/boxes", "--task", "detect", "--pretrained", "false", "--decoder", "retinaet"),
        "Did you mean 'retinanet'",
    ),
    "an unknown backbone": (
        ("train", "--data", "{scenes}/boxes", "--task", "detect", "--pretrained", "false", "--backbone", "resnet5"),
        "Did you mean 'resnet50'",
    ),
    "an unknown option of the recipe": (
        ("train", "--data", "{scenes}/boxes", "--task", "detect", "train.epoch=3"),
        "Did you mean 'epochs'",
    ),
    "a wrong type": (("train", "--data", "{scenes}/boxes", "--task", "detect", "train.epochs=many"), "train.epochs"),
    "a wrong type of option": (("train", "--epochs", "many"), "--epochs"),
    "a wrong size": (("train", "--data", "{scenes}/boxes", "--task", "detect", "--image-size", "48by64"), "480x640"),
    "a stray word": (("train", "--data", "{scenes}/boxes", "--task", "detect", "a=1", "b"), "'b' is neither"),
    "a config that is missing": (("train", "none.yaml"), "none.yaml"),
    "a config whose sections are none": (
        ("train", "{finished}/../sections.yaml", "--epochs", "3"),
        "'train' is no mapping",
    ),
    "no data at all": (("train", "--data", "", "--task", "detect"), "'' is no path"),
    "a word for no": (
        ("train", "--data", "nowhere", "--task", "classify", "--pretrained", "NO"),
        "nowhere: no such folder or file",
    ),
    "a run that is missing": (("train", "--resume", "nowhere"), "nowhere"),
    "a model that is missing": (("eval", "nowhere"), "nowhere"),
    "a split that is missing": (("eval", "{finished}", "--split", "tests"), "choose train, val or test"),
    "a device that is not there": (("eval", "{finished}", "--device", "quantum"), "quantum"),
    "an image that is missing": (("predict", "{finished}", "none.jpg", "--json"), "none.jpg"),
    "an image that is none": (("predict", "{finished}", "{finished}/config.yaml", "--json"), "config.yaml"),
    "no wish": (("predict", "{finished}", "{scenes}"), "--out FOLDER for pictures"),
    "no batch": (("predict", "{finished}", "{scenes}", "--json", "--batch-size", "0"), "--batch-size"),
    "no such precision": (("predict", "{finished}", "{scenes}", "--json", "--precision", "fp8"), "fp8"),
    "no such kind of file": (("export", "{finished}", "--out", "model.trt", "--to", "tensort"), "kind of file"),
    "an unknown part": (("parts", "retinane"), "Did you mean 'retinanet'"),
    "nothing to describe": (("describe",), "nothing to describe"),
    "a lone backbone": (("describe", "resnet18"), "--decoder"),
    "an empty folder": (("data", "check", "{empty}", "--task", "detect"), "empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_one_line(
    vertebra_command: Command, case: str, scenes: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (finished.parent / "sections.yaml").write_text("data: x\nmodel: 3\ntrain: 5\n")
    arguments, wanted = BAD[case]
    places = {"scenes": scenes, "finished": finished, "empty": tmp_path / "empty"}
    ended = vertebra_command(*(argument.format(**places) for argument in arguments))
    assert ended.code == 2, ended
    assert wanted in ended.err and "Traceback" not in ended.err
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["vertebra", "eval", "nowhere", "--debug"])
    with pytest.raises(vertebra.errors.VertebraError):
        main()


def test_unreadable_images_of_a_folder_are_named_and_skipped(
    vertebra_command: Command, finished: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    ended = vertebra_command("predict", finished, tmp_path, "--json")
    failed, done = json.loads(ended.out)
    assert ended.code == 3 and failed == {"image": str(tmp_path / "bad.png"), "error": failed["error"]}
    assert failed["error"].startswith(f"{tmp_path / 'bad.png'}: not an image") and done["image"].endswith("good.png")
    assert failed["error"] in ended.err and "1 of 2 images were skipped" in ended.err
    (tmp_path / "good.png").unlink()
    ended = vertebra_command("predict", finished, tmp_path, "--json")
    assert ended.code == 2 and json.loads(ended.out) == [failed], "nothing could be read"
