"""Every script of ``examples/`` runs on tiny drawn data, from its command line to what it leaves behind."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vertebra

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = ["--backbone", "mobilenetv2_035", "--pretrained", "false", "--epochs", "1", "--batch-size", "6"]
CANVAS = ["--image-size", "48", "64"]
LONGEST = 60  # lines from the first import on; the docstring comes before it
Main = Callable[[list[str]], None]


def load(name: str) -> Main:
    """The ``main`` of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Main = module.main
    return main


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The images are read in this process, which is faster for ten of them, and runs go to a folder of the test's own."""
    import vertebra.training.loaders

    monkeypatch.setattr(vertebra.training.loaders, "choose_workers", lambda workers, sharing=1: 0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def coco(scenes: Path, tmp_path: Path) -> Path:
    """The drawn scenes with boxes as a COCO data set with keypoints: two points on each box's diagonal."""
    from vertebra.data.open import open_data

    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    names = ["left_ear", "right_ear"]
    for split in ("train", "val"):
        index = open_data(scenes / "boxes", "detect", split)
        classes = index.labels["detect"].classes
        images, annotations = [], []
        for row in range(len(index)):
            path = index.path(row)
            with Image.open(path) as picture:
                size = (picture.height, picture.width)
                (root / split).mkdir(exist_ok=True)
                picture.save(root / split / path.name)
            images.append({"id": row, "file_name": path.name, "height": size[0], "width": size[1]})
            objects = index.columns["detect"].get(row, size)
            for box, label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True):
                width, height = box[2] - box[0], box[3] - box[1]
                points = [box[0] + width / 4, box[1] + height / 4, 2, box[0] + width / 2, box[1] + height / 2, 2]
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": row,
                        "category_id": label,
                        "bbox": [box[0], box[1], width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "keypoints": points,
                        "num_keypoints": 2,
                    }
                )
        categories = [
            {"id": i, "name": name, "keypoints": names, "skeleton": [[1, 2]]} for i, name in enumerate(classes)
        ]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def photos(folder: Path) -> str:
    """One of the data set's own images."""
    return str(next(path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".jpg")))


def test_finetune_classifier(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = scenes / "animals"
    run = tmp_path / "run"
    arguments = [str(data), *TINY, "--image-size", "48", "--out", str(run), "--predict", photos(data)]
    load("finetune_classifier")(arguments)
    assert (run / "model.safetensors").exists()
    assert re.search(r"top-1 accuracy: \d+\.\d%", capsys.readouterr().out)


def test_detect_coco(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, image = tmp_path / "pictures", photos(coco / "val")
    arguments = [str(coco), *TINY, *CANVAS, "--decoder", "fcos", "--out", "run", "--predict", image]
    load("detect_coco")([*arguments, "--pictures", str(pictures)])
    assert "COCO mAP 0." in capsys.readouterr().out
    assert [path.stem for path in pictures.iterdir()] == [Path(image).stem]


def test_segment(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks, image = tmp_path / "masks", photos(scenes / "regions" / "images")
    load("segment")(
        [str(scenes / "regions"), *TINY, *CANVAS, "--out", "run", "--predict", image, "--masks", str(masks)]
    )
    assert re.search(r"mean IoU: [01]\.\d", capsys.readouterr().out)
    with Image.open(masks / f"{Path(image).stem}.png") as mask, Image.open(image) as original:
        assert mask.size == original.size, "a mask has the size of its image"
        assert int(np.asarray(mask).max()) < len(vertebra.load("run").branch("segment").labels.classes)


def test_keypoints(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("keypoints")([str(coco), *TINY, *CANVAS, "--out", "run", "--predict", photos(coco / "val")])
    assert re.search(r"keypoint similarity: [01]\.\d", capsys.readouterr().out)
    assert vertebra.load("run").branch("pose").labels.points == ("left_ear", "right_ear")


def test_three_tasks_one_backbone(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--classes", scenes / "animals", "--boxes", scenes / "boxes", "--masks", scenes / "regions"]
    arguments = [*map(str, data), *TINY, *CANVAS, "--out", "run", "--predict", photos(scenes / "animals")]
    load("three_tasks_one_backbone")(arguments)
    printed = capsys.readouterr().out
    assert all(f"'{name}/" in printed for name in ("animal", "boxes", "regions")), "each branch is measured"
    assert set(vertebra.load("run").branches) == {"animal", "boxes", "regions"}


@pytest.mark.filterwarnings("ignore:.*given as objects")
def test_own_neck_and_decoder(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vertebra.demo.animals import ANIMALS

    arguments = [str(scenes / "animals"), "--classes", *ANIMALS, *TINY, "--image-size", "48", "--out", "run"]
    load("own_neck_and_decoder")(arguments)
    assert "classify/accuracy" in capsys.readouterr().out
    assert Path("run/model.safetensors").exists()


def test_plain_pytorch_loop(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.safetensors"
    arguments = [str(scenes / "animals" / "train"), *TINY, "--image-size", "48", "--save", str(file)]
    load("plain_pytorch_loop")(arguments)
    losses = re.findall(r"epoch 1: loss (\d+\.\d+)", capsys.readouterr().out)
    assert len(losses) == 1 and 0 < float(losses[0]) < 10
    assert vertebra.load(file).resize_spec.mode == "resize"


def test_export_and_run_without_torch(scenes: Path, tmp_path: Path) -> None:
    model, file = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    vertebra.create_model("test_resnet", decoder="linear", classes=["cat", "dog"], image_size=48).save(model)
    load("export_and_run_without_torch")(["export", str(model), str(file)])
    command = [sys.executable, str(EXAMPLES / "export_and_run_without_torch.py"), "predict", str(file)]
    done = subprocess.run([*command, photos(scenes / "animals")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'classify'" in done.stdout and ("cat" in done.stdout or "dog" in done.stdout)


def test_the_first_lines_of_the_readme(coco: Path, tmp_path: Path) -> None:
    from vertebra.demo.animals import ANIMALS

    page = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    [first, *_] = re.findall(r"```python\n(.*?)```", page, re.S)
    changes = {
        '{"name": "resnet50", "pretrained": True}': '"test_resnet"',
        'classes=["dog", "cat"]': f"classes={list(ANIMALS)}, image_size=64",
        '"data/dogs"': f'"{coco}"',
        "epochs=20": "epochs=1",
        '"photos/"': f'"{coco / "val"}"',
    }
    for old, new in changes.items():
        assert old in first
        first = first.replace(old, new)
    exec(compile(first, "README.md", "exec"), {})
    assert len(list(tmp_path.glob("*_boxes.jpg"))) == len(list((coco / "val").iterdir()))
    assert (tmp_path / "dogs.onnx").exists()


def test_every_example_is_short_listed_and_tested() -> None:
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    listed = re.findall(r"\]\((\w+)\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == names
    for name in names:
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        assert text.startswith('"""') and f"python examples/{name}.py" in text, f"{name}: its docstring has no command"
        assert f"def test_{name}(" in Path(__file__).read_text(encoding="utf-8"), f"{name}: no test runs it"
        if name != "own_neck_and_decoder":  # it also holds two parts
            assert len(text.partition("\nimport")[2].splitlines()) <= LONGEST, f"{name} is longer than a screen"
