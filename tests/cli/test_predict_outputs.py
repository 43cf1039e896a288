"""What ``vertebra predict`` writes: pictures and masks in folders like those of the images, named in the JSON."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.inference.painted import Painted, paint
from vertebra.cli.main import main
from vertebra.data.open import open_data
from vertebra.inference.model_source import ModelSource
from vertebra.inference.pipeline import Pipeline
from vertebra.preprocess.images import read_image
from vertebra.runtimes import computed_in

RECTANGLES = {"mon/0001.png": [(10, 12, 40, 30, 0)], "tue/0001.png": [(50, 8, 60, 44, 1)], "tue/b/2.png": []}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def cam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``cam``, in which two images of two folders have one name; the process is beside it."""
    monkeypatch.chdir(tmp_path)
    for name, rectangles in RECTANGLES.items():
        (tmp_path / "cam" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint((48, 64), rectangles)).save(tmp_path / "cam" / name)
    return Path("cam")


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``vertebra predict model.onnx ...`` with a model that sees what is painted; ``branches`` are its branches."""

    def call(*arguments: Any, branches: tuple[str, ...] = ("boxes", "paint")) -> Ended:
        (tmp_path / "model.onnx").write_bytes(b"painted")

        def predictor(self: ModelSource, **options: Any) -> Pipeline:
            return Painted((48, 64), branches, **options)

        monkeypatch.setattr(ModelSource, "predictor", predictor)
        monkeypatch.setattr("sys.argv", ["vertebra", "predict", str(tmp_path / "model.onnx"), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


def files(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_pictures_and_masks_lie_as_their_images_do(predict: Command, cam: Path) -> None:
    ended = predict(cam, "--out", "out", "--masks", "masks", "--json", "--jsonl", "found.jsonl")
    assert ended.code == 0, ended.err
    assert "6 pictures in out" in ended.err and "3 masks in masks" in ended.err
    stems = [name.removesuffix(".png") for name in RECTANGLES]
    assert files("out") == {f"{stem}_{branch}.jpg" for stem in stems for branch in ("boxes", "paint")}
    assert files("masks") == {*RECTANGLES, "classes.json"}
    rows = json.loads(ended.out)
    assert rows == [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    for row, (name, rectangles) in zip(rows, RECTANGLES.items(), strict=True):
        assert row["image"] == f"cam/{name}" and row["masks"] == {"paint": f"masks/{name}"}
        assert row["pictures"]["paint"] == f"out/{name.removesuffix('.png')}_paint.jpg"
        with Image.open(row["masks"]["paint"]) as mask:
            assert mask.mode == "P" and mask.size == (64, 48)
            ids = np.asarray(mask)
        wanted = np.zeros((48, 64), np.uint8)
        for left, top, right, bottom, label in rectangles:
            wanted[top:bottom, left:right] = label + 1
        assert np.array_equal(ids, wanted)
        masks = {seen["class_name"]: seen["mask"] for seen in row["paint"]["objects"]}
        for class_id, name in enumerate(("nothing", "a", "b")):
            found = masks.get(name)
            assert (found is None) == (not (wanted == class_id).any())
            if found is not None:
                assert np.array_equal(coco_mask.decode(found), wanted == class_id)


def test_a_mask_is_8_bits_and_has_the_colors_of_the_legend(predict: Command, cam: Path) -> None:
    assert predict(cam / "tue", "--masks", "masks").code == 0
    assert files("masks") == {"0001.png", "b/2.png", "classes.json"}
    content = Path("masks/0001.png").read_bytes()
    assert content[24:26] == bytes([8, 3]), "bits and the palette's color type in a PNG's header"
    legend = json.loads(Path("masks/classes.json").read_text())["paint"]
    assert [(entry["id"], entry["name"]) for entry in legend] == [(0, "nothing"), (1, "a"), (2, "b")]
    with Image.open("masks/0001.png") as mask:
        assert list(mask.convert("RGB").getpixel((55, 20))) == legend[2]["color"]


def test_a_second_run_overwrites_nothing(predict: Command, cam: Path) -> None:
    for _ in range(2):
        ended = predict(cam, "--out", "out", "--masks", "masks", "--json")
    assert ended.code == 0
    (first, *_) = json.loads(ended.out)
    assert (
        first["pictures"]["boxes"] == "out/mon/0001_boxes-2.jpg" and first["masks"]["paint"] == "masks/mon/0001-2.png"
    )
    assert len(files("out")) == 12 and len(files("masks")) == 7
    ended = predict(cam, "--masks", "masks", branches=("paint", "layers"))
    assert ended.code == 2 and "masks/classes.json lists other classes than this model has" in ended.err
    assert len(files("masks")) == 7


def test_where_outputs_lie_for_files_and_patterns(predict: Command, cam: Path) -> None:
    for arguments, wanted in (
        ([cam / "tue" / "0001.png"], {"0001_boxes.jpg"}),
        ([cam / "mon" / "0001.png", cam / "tue" / "0001.png"], {"mon/0001_boxes.jpg", "tue/0001_boxes.jpg"}),
        (["cam/*/0001.png"], {"mon/0001_boxes.jpg", "tue/0001_boxes.jpg"}),
        ([cam / "tue" / "b", cam / "mon"], {"tue/b/2_boxes.jpg", "mon/0001_boxes.jpg"}),
        (
            [(cam / "mon").absolute(), cam / "mon" / ".." / "tue"],
            {"mon/0001_boxes.jpg", "tue/0001_boxes.jpg", "tue/b/2_boxes.jpg"},
        ),
    ):
        out = f"out{len(list(Path().iterdir()))}"
        assert predict(*arguments, "--out", out, branches=("boxes",)).code == 0
        assert files(out) == wanted


def test_overlapping_classes_have_a_mask_each(predict: Command, cam: Path) -> None:
    ended = predict(cam / "tue", "--masks", "masks", "--json", branches=("paint", "layers"))
    first, second = json.loads(ended.out)
    assert first["masks"] == {"paint": "masks/0001_paint.png", "layers": {"b": "masks/0001_layers_1.png"}}
    assert second["masks"]["layers"] == {}
    with Image.open("masks/0001_layers_1.png") as mask:
        ids = np.asarray(mask)
    assert ids[8:44, 50:60].all() and ids.sum() == 36 * 10


def test_masks_need_a_branch_that_segments(predict: Command, cam: Path) -> None:
    ended = predict(cam, "--masks", "masks", branches=("boxes",))
    assert ended.code == 2 and "--masks is for branches of task segment; this model has: boxes" in ended.err
    assert not Path("masks").exists()


def test_coco_results_of_masks(predict: Command, cam: Path) -> None:
    images = [{"id": number, "file_name": name} for number, name in enumerate(RECTANGLES)]
    categories = [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}, {"id": 1, "name": "nothing"}]
    Path("truth.json").write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    ended = predict(cam, "--coco-results", "found.json", "--branch", "paint", "--coco-gt", "truth.json")
    assert ended.code == 0, ended.err
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO("truth.json").loadRes("found.json")
    areas = {(own["image_id"], own["category_id"]): own["area"] for own in loaded.loadAnns(loaded.getAnnIds())}
    assert areas == {(0, 7): 540, (0, 1): 48 * 64 - 540, (1, 9): 360, (1, 1): 48 * 64 - 360, (2, 1): 48 * 64}
    ended = predict(cam, "--coco-results", "other.json")
    assert ended.code == 2 and "--branch boxes or --branch paint" in ended.err


def test_a_picture_too_long_for_jpeg_is_a_png(predict: Command, cam: Path) -> None:
    Image.new("RGB", (65_600, 2)).save(cam / "long.png")
    ended = predict(cam, "--out", "out", "--json", branches=("boxes",))
    assert ended.code == 0, ended.err
    assert [Path(row["pictures"]["boxes"]).name for row in json.loads(ended.out)] == [
        "long_boxes.png", "0001_boxes.jpg", "0001_boxes.jpg", "2_boxes.jpg",
    ]  # fmt: skip
    with Image.open("out/long_boxes.png") as picture:
        assert picture.size == (65_600, 2)
    assert "4 pictures in out" in ended.err


def test_an_image_that_is_gone_before_it_is_drawn(predict: Command, cam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_once(path: Any, *more: Any, **options: Any) -> Any:
        array = read_image(path, *more, **options)
        if Path(path).name == "2.png":
            Path(path).unlink()
        return array

    monkeypatch.setattr("vertebra.inference.io.inputs.read_image", read_once)
    ended = predict(cam, "--out", "out", "--jsonl", "found.jsonl", branches=("boxes",))
    assert ended.code == 3 and "no picture: cam/tue/b/2.png: no such image file" in ended.err
    assert len(files("out")) == 2 and len(Path("found.jsonl").read_text().splitlines()) == 3


def test_names_that_are_long(predict: Command, cam: Path) -> None:
    for last in "ab":
        Image.new("RGB", (64, 48)).save(cam / f"{'n' * 245}{last}.png")
    ended = predict(cam, "--out", "out", branches=("boxes",))
    assert ended.code == 0, ended.err
    assert {f"{'n' * 200}_boxes.jpg", f"{'n' * 200}_boxes-2.jpg"} < files("out")


def test_unreadable_images_in_the_lines(predict: Command, cam: Path) -> None:
    (cam / "mon" / "0002.png").write_bytes(b"no picture")
    arguments = (
        cam,
        "--jsonl",
        "found.jsonl",
        "--coco-results",
        "found.json",
        "--coco-gt",
        "truth.json",
        "--branch",
        "boxes",
    )
    images = [{"id": number, "file_name": name} for number, name in enumerate([*RECTANGLES, "mon/0002.png"])]
    categories = [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}]
    Path("truth.json").write_text(json.dumps({"images": images, "categories": categories}))
    for _ in range(2):
        ended = predict(*arguments)
        assert ended.code == 3 and "1 of 4 images were skipped" in ended.err and "3 images in found.jsonl" in ended.err
        rows = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
        assert [row["image"] for row in rows] == [*(f"cam/{name}" for name in RECTANGLES), "cam/mon/0002.png"]
        assert [list(row) for row in rows if "error" in row] == [["image", "error"]], (
            "one line, however often it is tried"
        )
        Path("found.json").unlink()
    Image.new("RGB", (64, 48)).save(cam / "mon" / "0002.png")
    assert predict(*arguments).code == 0
    rows = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and not any("error" in row for row in rows)


def test_nothing_half_is_left(predict: Command, cam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))  # as a disk that is full
    try:
        ended = predict(cam, "--out", "out", "--jsonl", "found.jsonl", branches=("boxes",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.code == 2 and "Traceback" not in ended.err and ended.err.count("vertebra: ") == 1
    assert "out/mon/0001_boxes.jpg: the file would be larger than the system allows" in ended.err
    assert files("out") == set() and Path("found.jsonl").read_text() == ""
    assert predict(cam, "--out", "out", "--jsonl", "found.jsonl", branches=("boxes",)).code == 0
    assert len(files("out")) == 3


@pytest.mark.parametrize("kept", ["--jsonl", "--coco-results"])
@pytest.mark.parametrize("option", ["--out", "--masks"])
def test_files_that_a_job_did_not_write_are_not_promised(
    predict: Command, cam: Path, kept: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[Any] = [cam, kept, "found"]
    if kept == "--coco-results":
        images = [{"id": number, "file_name": name} for number, name in enumerate(RECTANGLES)]
        categories = [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}]
        Path("truth.json").write_text(json.dumps({"images": images, "categories": categories}))
        arguments += ["--coco-gt", "truth.json", "--branch", "boxes"]
        # as a job that is killed before it makes the file
        monkeypatch.setattr("vertebra.inference.io.coco_results.CocoResults.finish", lambda self: None)
    assert predict(*arguments).code == 0
    ended = predict(*arguments, option, "new")
    assert ended.code == 2 and f"{option} is not given there and given now" in ended.err and not Path("new").exists()
    assert ended.err.count("vertebra: ") == 1
    assert predict(*arguments).code == 0, "as before"


def test_pictures_and_masks_may_go_into_another_folder(predict: Command, cam: Path) -> None:
    assert predict(cam / "mon", "--jsonl", "found.jsonl", "--masks", "masks", "--out", "out").code == 0
    assert predict(cam, "--jsonl", "found.jsonl", "--masks", "more", "--out", "more").code == 0
    assert len(Path("found.jsonl").read_text().splitlines()) == 3 and "mon/0001.png" not in files("more")
    ended = predict(cam, "--jsonl", "found.jsonl", "--out", "out")
    assert ended.code == 2 and "--masks is given there and not given now" in ended.err


def test_the_usual_runtime_may_be_named(predict: Command, cam: Path) -> None:
    assert predict(cam / "mon", "--jsonl", "found.jsonl").code == 0
    for same in (["--runtime", "onnx"], ["--precision", "int8"], ["--device", "cpu"], []):
        ended = predict(cam, "--jsonl", "found.jsonl", *same)
        assert ended.code == 0, ended.err
    ended = predict(cam, "--jsonl", "found.jsonl", "--runtime", "openvino")
    assert ended.code == 2
    assert "computed in is as exported by onnx there and as exported by openvino now" in ended.err


@pytest.mark.parametrize(
    ("file", "runtime", "precision", "said"),
    [
        ("a.xml", None, None, "as exported by openvino"),
        ("a.XML", "openvino", "fp32", "as exported by openvino"),
        ("a.onnx", "openvino", "bf16", "bf16 by openvino"),
        ("a.onnx", "tensorrt", None, "as exported by tensorrt"),
        ("a.pt2", None, "fp32", "as exported by torch"),
        ("a.pte", "executorch", None, "as exported by executorch"),
    ],
)
def test_what_a_file_is_computed_in(file: str, runtime: str | None, precision: str | None, said: str) -> None:
    assert computed_in(file, runtime, precision) == said


def test_images_at_addresses(predict: Command, cam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=cam)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        names = [f"{root}/mon/0001.png", str(cam / "tue/0001.png"), f"{root}/tue/none.png", f"{root}/tue/b/2.png"]
        ended = predict(*names[:3], "--out", "out", "--jsonl", "found.jsonl", branches=("boxes",))
        assert ended.code == 3 and f"{root}/tue/none.png: the server answers 404" in ended.err
        again = predict(*names, "--jsonl", "found.jsonl", "--out", "out", branches=("boxes",))
        server.shutdown()
    assert again.code == 3 and "2 of 4 images are in found.jsonl already" in again.err
    rows = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    objects = {row["image"]: len(row["boxes"]["objects"]) for row in rows if "boxes" in row}
    assert objects == {names[0]: 1, names[1]: 1, names[3]: 0}
    assert len(files("out")) == 3


def test_predictions_are_saved_as_a_data_set(predict: Command, cam: Path) -> None:
    ended = predict(cam, "--save-as", "coco", "set", "--branch", "boxes")
    assert ended.code == 0, ended.err
    assert "3 images as a coco data set in set" in ended.err
    assert files("set") == {"annotations/instances.json", *(f"images/{name}" for name in RECTANGLES)}
    data = json.loads(Path("set/annotations/instances.json").read_text())
    assert [category["name"] for category in data["categories"]] == ["a", "b"]
    assert [image["file_name"] for image in data["images"]] == sorted(RECTANGLES)
    first, second = data["annotations"]
    assert first["bbox"] == [10, 12, 30, 18] and second["bbox"] == [50, 8, 10, 36]
    assert first["attributes"]["confidence"] == pytest.approx(0.87)
    index = open_data("set", "detect", "train", seed=1)
    assert index.labels["detect"].classes == ("a", "b")


def test_masks_and_classes_are_saved_without_the_background(predict: Command, cam: Path) -> None:
    assert predict(cam, "--save-as", "masks", "masks", branches=("paint",)).code == 0
    classes = Path("masks/classes.txt").read_text().split()
    mask = np.asarray(Image.open("masks/masks/mon/0001.png"))
    assert classes == ["nothing", "a", "b"] and (mask == 1).sum() == 30 * 18 and mask.shape == (48, 64)
    assert predict(cam, "--save-as", "yolo", "outlines", branches=("paint",)).code == 0
    assert (
        Path("outlines/labels/mon/0001.txt").read_text().startswith("1 ")
        or "\n1 " in Path("outlines/labels/mon/0001.txt").read_text()
    )
    assert predict(cam, "--save-as", "labelme", "classes", branches=("bright",)).code == 0
    document = json.loads(Path("classes/mon/0001.json").read_text())
    assert list(document["flags"]) in (["dark"], ["light"]) and not document["shapes"]
    ended = predict(cam, "--save-as", "labelme", "poses", "--branch", "corners", branches=("corners", "boxes"))
    assert ended.code == 0, ended.err
    shapes = json.loads(Path("poses/mon/0001.json").read_text())["shapes"]
    assert [shape["label"] for shape in shapes] == ["a", "left_top", "right_top", "bottom"]


def test_a_minimum_score_of_saved_objects(predict: Command, cam: Path) -> None:
    assert predict(cam, "--save-as", "yolo", "set", "--min-score", "0.88", branches=("boxes",)).code == 0
    assert not Path("set/labels/mon/0001.txt").read_text()
    ended = predict(cam, "--save-as", "yolo", "low", "--min-score", "0.1", branches=("boxes",))
    assert ended.code == 2 and "--min-score 0.1 is below the minimum score of all predictions (0.3)" in ended.err
    ended = predict(cam, "--json", "--min-score", "0.5", branches=("boxes",))
    assert ended.code == 2 and "--min-score needs --save-as" in ended.err


@pytest.mark.parametrize(
    ("arguments", "branches", "message"),
    [
        (("coc", "set"), ("boxes",), "unknown format to write 'coc'"),
        (("masks", "set"), ("boxes",), "masks holds masks and outlines; the branches of this model predict others"),
        (("coco", "set"), ("boxes", "paint"), "several branches can be saved; choose --branch boxes or --branch paint"),
        (("coco", "set", "--branch", "box"), ("boxes",), "unknown branch whose predictions coco holds 'box'"),
        (("coco", "cam"), ("boxes",), "this folder is not empty"),
    ],
)
def test_what_cannot_be_saved_is_refused_first(
    arguments: tuple[str, ...], branches: tuple[str, ...], message: str, predict: Command, cam: Path
) -> None:
    ended = predict(cam, "--save-as", *arguments, branches=branches)
    assert ended.code == 2 and message in ended.err and not Path("set").exists()
