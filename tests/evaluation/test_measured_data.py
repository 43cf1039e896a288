"""Measuring a run on its own data by name, and on other data: branches, what is ignored, and classes that are called otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vertebra
from vertebra.build import build
from vertebra.cli.main import main
from vertebra.config import Config
from vertebra.data.open_datasets import open_split
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.evaluation.measured_data import read_renames
from vertebra.training.run import complete
from vertebra.weights.model_file import save

SIZE = (48, 64)


def write_run(folder: Path, raw: dict[str, Any]) -> Path:
    """A run folder with an untrained model, as training would leave it."""
    torch.manual_seed(0)
    config = Config.from_raw({**raw, "train": {"image_size": list(SIZE), "workers": 0, "precision": "32"}})
    config, _ = complete(config, open_split(config, "train"))
    model = build(config.model, image_size=SIZE, resize="letterbox")
    folder.mkdir()
    (folder / "config.yaml").write_text(config.to_yaml())
    save(model, folder / "model.safetensors")
    return folder


def write_masks(root: Path, names: list[str], values: list[int]) -> Path:
    """Six images whose masks have stripes of the values, and the names of the values from 0 on."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(3):
            picture = draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            mask = np.array(values, dtype=np.uint8)[draw.integers(0, len(values), (6, 8))].repeat(8, 0).repeat(8, 1)
            for kind, array in (("images", picture), ("masks", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / kind / split / f"{number}.png")
    if names:
        (root / "classes.txt").write_text("\n".join(names))
    return root


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Masks of sky, road and car whose value 7 is to be ignored, and a run on them."""
    root = tmp_path_factory.mktemp("roads")
    data = write_masks(root / "data", ["sky", "road", "car"], [0, 1, 2, 7])
    model = {"backbone": "resnet10t", "task": "segment", "decoder": "upsample"}
    return data, write_run(root / "run", {"data": {"path": str(data), "ignore_index": 7}, "model": model})


def scores(run: Path, **options: Any) -> dict[str, float]:
    found = vertebra.evaluate(run, split="val", device="cpu", **options)
    assert any(0 < value < 1 for value in found.values())
    return found


def same(first: dict[str, float], second: dict[str, float]) -> None:
    assert first.keys() == second.keys()
    np.testing.assert_allclose(list(first.values()), list(second.values()), atol=1e-6)


def test_a_segmentation_run_is_measured_on_its_own_data(
    roads: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the run's config reads them, however the path is spelled."""
    data, run = roads
    own = scores(run)
    same(scores(run, data=data), own)
    monkeypatch.chdir(data.parent)
    same(scores(run, data="data/../data"), own)
    same(scores(run, data=data, ignore_index=7), own)


def test_what_is_ignored_on_other_data(
    roads: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's ignore index is taken and told; another one can be named."""
    _, run = roads
    same(scores(run, data=write_masks(tmp_path / "copy", ["sky", "road", "car"], [0, 1, 2, 7])), scores(run))
    assert "copy: mask value 7 is ignored, as in the run's config" in capsys.readouterr().err
    other = write_masks(tmp_path / "other", ["sky", "road", "car"], [0, 1, 2, 9])
    with pytest.raises(DataError, match="value 9 of no class"):
        scores(run, data=other)
    capsys.readouterr()
    same(scores(run, data=other, ignore_index=9), scores(run))
    assert "as in the run's config" not in capsys.readouterr().err


def test_classes_of_masks_are_found_by_name(roads: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = roads
    same(scores(run, data=write_masks(tmp_path / "order", ["car", "sky", "road"], [1, 2, 0, 7])), scores(run))
    names = ["house", "car", "sky", "tree", "road"]
    more = write_masks(tmp_path / "more", names, [2, 4, 1, 7])
    same(scores(run, data=more), scores(run))


def test_classes_of_masks_that_are_called_otherwise(roads: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = roads
    german = write_masks(tmp_path / "german", ["Auto", "Himmel", "road"], [1, 2, 0, 7])
    same(scores(run, data=german, rename_classes={"Auto": "car", "Himmel": "sky"}), scores(run))
    numbered = write_masks(tmp_path / "numbered", [], [3, 4, 5, 7])
    same(scores(run, data=numbered, rename_classes={"3": "sky", "4": "road", "5": "car"}), scores(run))
    with pytest.raises(UnknownName, match=r"unknown class of .*german 'Autos'\. Did you mean 'Auto'"):
        scores(run, data=german, rename_classes={"Autos": "car"})
    with pytest.raises(UnknownName, match=r"unknown class of the model 'cra'\. Did you mean 'car'"):
        scores(run, data=german, rename_classes={"Auto": "cra"})
    with pytest.raises(ConfigError, match=r"another data set than the run's; name it: data=\.\.\. \(--data\)"):
        scores(run, rename_classes={"Auto": "car"})


def write_coco(root: Path, names: list[str], of_box: Callable[[int], int]) -> Path:
    """Four images with eight boxes; ``of_box`` tells the class of each."""
    draw = np.random.default_rng(1)
    root.mkdir()
    images, annotations = [], []
    for number in range(4):
        Image.fromarray(draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(root / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        for box in ([4, 4, 30, 30], [20, 10, 40, 36]):
            place = len(annotations)
            annotations.append(
                {"id": place, "image_id": number, "category_id": of_box(place), "bbox": box, "iscrowd": 0}
            )
    content = {
        "images": images, "annotations": annotations,
        "categories": [{"id": place, "name": name} for place, name in enumerate(names)],
    }  # fmt: skip
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def test_several_classes_become_one(tmp_path: Path) -> None:
    animals = write_coco(tmp_path / "animals", ["animal", "car"], lambda place: place % 2)
    kinds = write_coco(tmp_path / "kinds", ["car", "dog", "cat"], lambda place: [1, 0, 2, 0][place % 4])
    model = {"backbone": "resnet10t", "task": "detect", "decoder": "fcos", "neck": "fpn"}
    run = write_run(tmp_path / "run", {"data": str(animals), "model": model})
    own = vertebra.evaluate(run, split="val", device="cpu")
    mapped = vertebra.evaluate(
        run, split="val", data=kinds, device="cpu", rename_classes={"dog": "animal", "cat": "animal"}
    )
    same(mapped, own)
    some = vertebra.evaluate(run, split="val", data=kinds, device="cpu", rename_classes={"dog": "animal"})
    assert some["detect/loss"] != pytest.approx(own["detect/loss"]), "the cats are left out"


def _of(scores: dict[str, float], branch: str) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name.startswith(f"{branch}/")}


def test_chosen_branches(tmp_path: Path, roads: tuple[Path, Path]) -> None:
    boxes = write_coco(tmp_path / "boxes", ["animal", "car"], lambda place: place % 2)
    data = [
        {"path": str(boxes), "branches": ["boxes"]},
        {"path": str(roads[0]), "branches": ["regions"], "ignore_index": 7},
    ]
    branches = {"boxes": {"neck": "fpn", "decoder": "fcos"}, "regions": {"decoder": "upsample"}}
    run = write_run(
        tmp_path / "run", {"data": {"train": data}, "model": {"backbone": "resnet10t", "branches": branches}}
    )
    both = vertebra.evaluate(run, split="val", device="cpu")
    one = vertebra.evaluate(run, split="val", device="cpu", branches=["regions"])
    assert {name.partition("/")[0] for name in both} == {"boxes", "regions"}
    same(one, _of(both, "regions"))
    same(vertebra.evaluate(run, split="val", data=boxes, device="cpu"), _of(both, "boxes"))
    other = write_coco(tmp_path / "other", ["car", "animal"], lambda place: 1 - place % 2)
    with pytest.raises(DataError):
        vertebra.evaluate(run, split="val", data=other, device="cpu")
    found = vertebra.evaluate(run, split="val", data=other, device="cpu", branches=["boxes"])
    same(found, _of(both, "boxes"))
    with pytest.raises(UnknownName, match="unknown branch 'region'. Did you mean 'regions'"):
        vertebra.evaluate(run, split="val", branches=["region"])


def test_the_command(
    roads: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, run = roads
    german = write_masks(tmp_path / "german", ["Auto", "Himmel", "road"], [1, 2, 0, 9])

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["vertebra", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    words = ["eval", run, "--split", "val", "--json", "--device", "cpu", "--branch", "segment"]
    maps = ["--rename-class", "Auto=car", "--rename-class", "Himmel=sky", "--ignore-index", 9]
    code, out, _ = call(*words, "--data", german, *maps)
    assert code == 0
    same(json.loads(out), scores(run, data=data))
    assert call(*words, "--data", german, "--rename-class", "Auto")[0] == 2
    code, out, err = call("data", "check", data, "--task", "segment")
    assert code == 1 and "error: train: " in out and "value 7 of no class" in out and not err
    assert call("data", "check", data, "--task", "segment", "--ignore-index", 7)[0] == 0
    code, out, _ = call("data", "check", data, "--task", "segment", "--json")
    assert code == 1 and {one["kind"] for one in json.loads(out)["findings"]} == {"refused"}
    assert call("data", "check", tmp_path / "nowhere", "--task", "segment")[0] == 2


def test_a_class_map_of_the_command_line() -> None:
    assert read_renames(["cat=animal", "dog=animal", "a b=c=d"]) == {"cat": "animal", "dog": "animal", "a b": "c=d"}
    for entries, message in (
        (["cat"], "must be NAME=NAME"),
        (["=cat"], "must be"),
        (["a=b", "a=c"], "becomes 'b' and 'c'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_renames(entries)


def test_metrics_that_cannot_be_measured_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for n in range(2)]
    box = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0}
    for split, found in (("train", [box]), ("val", [])):
        (tmp_path / "data" / split).mkdir(parents=True)
        for image in images:
            Image.new("RGB", SIZE[::-1], (image["id"] * 90, 90, 90)).save(
                tmp_path / "data" / split / image["file_name"]
            )
        content = {"images": images, "annotations": found, "categories": [{"id": 1, "name": "dog"}]}
        (tmp_path / "data" / "annotations").mkdir(exist_ok=True)
        (tmp_path / "data" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    model = {"backbone": "test_resnet", "neck": "fpn", "decoder": "retinanet"}
    run = write_run(tmp_path / "run", {"data": str(tmp_path / "data"), "model": model})
    assert set(vertebra.evaluate(run, split="val", device="cpu")) == {"detect/loss"}
    assert "no image has anything labeled for branch 'detect' to find" in capsys.readouterr().err
