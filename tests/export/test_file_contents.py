"""What an exported file says of itself, inside and beside it; and that one which was changed or acts is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

import vertebra
from vertebra.cli.main import main
from vertebra.errors import ConfigError, RunError, WeightsError
from vertebra.export.evaluate import evaluate
from vertebra.export.export_model import export_model
from vertebra.export.files import export_files, metadata_json_path, publish_export
from vertebra.export.targets.torch_export import write_torch
from vertebra.files import take_name
from vertebra.model import VisionModel
from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.runtimes import read_metadata
from vertebra.runtimes.model_files.checksum import NAME
from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.model_files.onnx_file import InvalidFile, read_model
from vertebra.runtimes.model_files.openvino_file import read_graph
from vertebra.runtimes.model_files.pt2_archive import rewrite_archive
from vertebra.runtimes.openvino import OPENVINO
from vertebra.tasks.segment.predictions import from_decoded
from vertebra.tasks.segment.targets import SegmentDecoded
from vertebra.tasks.segment.to_image_coords import class_map
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

BRANCHES: dict[str, Any] = {
    "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog", "cat"]},
    "regions": {"decoder": "upsample", "classes": ["dog", "cat", "cow"]},
}


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", branches=BRANCHES, image_size=(32, 48), resize="letterbox").eval()


@pytest.fixture(scope="module")
def file(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that gives class maps."""
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    export_model(model, path, class_map=True)
    return path


@pytest.fixture(scope="module")
def openvino_file(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path_factory.mktemp("files") / "model.xml"
    export_model(model, path, input="canvas", canvas="fixed")
    return path


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 70), (64, 33))]


def _copy(file: Path, folder: Path) -> Path:
    """The files that are needed to run it, without the JSON."""
    for own in (file, file.with_suffix(".bin")):
        if own.exists():
            shutil.copy(own, folder)
    return folder / file.name


def _refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        vertebra.load(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))
    return str(caught.value)


def test_who_made_it_and_named_dimensions(file: Path) -> None:
    proto = onnx.load(str(file))
    onnx.checker.check_model(proto, full_check=True)
    assert (proto.producer_name, proto.producer_version) == ("vertebra", vertebra.__version__)
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    assert shapes == {
        "pixels": ["batch", "height", "width", 3],
        "boxes/boxes": ["batch", 100, 4],
        "boxes/scores": ["batch", 100],
        "boxes/labels": ["batch", 100],
        "boxes/count": ["batch"],
        "regions/class_map": ["batch", "height", "width"],
    }
    assert b"vertebra/export/" not in file.read_bytes(), "no folder of the machine that made it"


def test_a_runtime_of_its_own_has_nothing_to_say_of_the_dimensions(file: Path) -> None:
    code = (
        "import numpy, onnxruntime, sys\n"
        f"session = onnxruntime.InferenceSession({str(file)!r})\n"
        "for size in ((1, 40, 70), (3, 33, 20)):\n"
        "    print([v.shape for v in session.run(None, {'pixels': numpy.zeros((*size, 3), numpy.uint8)})][-1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(1, 40, 70)", "(3, 33, 20)"] and "Error merging shape" not in done.stderr


def test_metadata_inside_and_beside(file: Path, openvino_file: Path, model: VisionModel, tmp_path: Path) -> None:
    for path in (file, openvino_file):
        inside = json.loads(read_metadata(path) or "")
        assert inside == json.loads(metadata_json_path(path).read_text())
        assert inside["producer"] == {"name": "vertebra", "version": vertebra.__version__}
        assert inside["image"]["rotation"] == "apply the EXIF orientation of an image file first"
        assert inside["decoding"]["boxes"]["threshold"] == OBJECT_THRESHOLD
        assert inside["decoding"]["boxes"]["postprocess"] == dataclasses.asdict(
            model.branch("boxes").decoder.postprocess
        )  # type: ignore[call-overload]
        assert inside["decoding"]["regions"] == {"rule": "largest"}
        assert vertebra.load(_copy(path, tmp_path)).info.branches.keys() == BRANCHES.keys()
    told = json.loads(read_metadata(file) or "")
    assert told["outputs"]["regions/class_map"] == {"type": "uint8", "shape": ["batch", "height", "width"]}
    assert told["outputs"]["boxes/labels"] == {"type": "int64", "shape": ["batch", 100]}
    canvases = json.loads(read_metadata(openvino_file) or "")
    assert canvases["inputs"]["images"] == {"type": "uint8", "shape": ["batch", 3, 32, 48]}
    assert canvases["outputs"]["regions/probabilities"] == {"type": "float32", "shape": ["batch", 3, 32, 48]}


def test_describe_needs_no_torch_and_no_runtime(
    file: Path, openvino_file: Path, model: VisionModel, tmp_path: Path
) -> None:
    write_torch(model, tmp_path / "model.pt2", free=False)
    rewrite_archive(tmp_path / "model.pt2", read_metadata(openvino_file) or "")
    for path in (file, openvino_file, tmp_path / "model.pt2"):
        code = (
            "import sys\n"
            "sys.modules.update(dict.fromkeys(['torch', 'timm', 'onnx', 'onnxruntime', 'openvino', 'executorch']))\n"
            "import vertebra.cli.main as cli\n"
            f"sys.argv[1:] = ['describe', {str(path)!r}, '--json']\n"
            "cli.main()\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["branches"]["regions"]["classes"] == ["dog", "cat", "cow"] and told["precision"] == "fp32"
        assert told["producer"]["name"] == "vertebra" and told["bytes"] > 100_000 and told["inputs"] and told["outputs"]


def test_describe_in_lines(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["vertebra", "describe", str(file)])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert "ONNX, fp32" in printed and "input   pixels: uint8 (batch, height, width, 3)" in printed
    assert "branch  boxes: detect, scores from 0.3 on; 2 classes: dog, cat" in printed
    assert "branch  regions: segment, the largest, the class of each pixel; 3 classes: dog, cat, cow" in printed


def test_class_maps_are_what_the_model_says(file: Path, model: VisionModel, pictures: list[np.ndarray]) -> None:
    opened = vertebra.load(file)
    assert opened.class_maps == ["regions"]
    (values,) = opened.run(pictures[0][None])["regions"]
    assert values.dtype == np.uint8 and values.shape == (1, 40, 70)
    for ours, theirs in zip(opened.predict(pictures), model.predict(pictures), strict=True):
        assert ours["regions"].mask.dtype == theirs["regions"].mask.dtype
        assert (ours["regions"].mask == theirs["regions"].mask).mean() > 0.99
        assert ours["regions"].share.keys() == theirs["regions"].share.keys()
    with pytest.raises(
        ConfigError, match="a file with class maps has no probabilities; export one without class_map=True"
    ):
        from_decoded([values[0]], None, opened.info.branches["regions"][1], keep_probabilities=True)  # type: ignore[arg-type]
    for options in ({"tile": 32}, {"flip": True}, {"scales": (1, 0.5)}):
        with pytest.raises(ConfigError, match="outputs class maps, which tiles"):
            opened.predictor(**options)


def test_class_maps_are_evaluated(tmp_path: Path) -> None:
    """On masks that are what the model itself says, the file is right nearly everywhere."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    branches = {"regions": BRANCHES["regions"]}
    model = vertebra.create_model("test_resnet", branches=branches, image_size=(32, 48), resize="letterbox").eval()
    file = tmp_path / "model.xml"
    export_model(model, file, class_map=True)
    data = tmp_path / "data"
    draw = np.random.default_rng(1)
    for name in ("images", "masks"):
        (data / "test" / name).mkdir(parents=True)
    for number in range(3):
        image = draw.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(image).save(data / "test" / "images" / f"{number}.png")
        (result,) = model.predict(image)
        Image.fromarray(result["regions"].mask.astype(np.uint8)).save(data / "test" / "masks" / f"{number}.png")
    (data / "classes.txt").write_text("dog\ncat\ncow\n")
    scores = evaluate(file, data=data)
    assert scores["regions/pixel_accuracy"] > 0.99 and scores["regions/mean_iou"] > 0.95


def test_class_maps_go_with_segmentation_of_pixels(model: VisionModel, tmp_path: Path) -> None:
    def made(**options: Any) -> VisionModel:
        return vertebra.create_model("test_resnet", image_size=(32, 32), **options)

    for other, options, said in (
        (model, {"input": "canvas"}, "need an .onnx or .xml file with input='pixels'"),
        (made(decoder="linear", classes=["a", "b"]), {}, "need a segmentation branch, and this model has none"),
        (made(branches={"s": {"decoder": "upsample", "classes": ["a", "b"], "multilabel": True}}), {}, "may overlap"),
    ):
        with pytest.raises(ConfigError, match=said):
            export_model(other, tmp_path / "model.onnx", class_map=True, **options)
    with pytest.raises(ConfigError, match=r"with input=.pixels. \(--input pixels"):
        export_model(model, tmp_path / "model.pt2", class_map=True)


@pytest.mark.parametrize(("classes", "kind"), [(256, torch.uint8), (257, torch.int32)])
def test_class_maps_of_many_classes(classes: int, kind: torch.dtype) -> None:
    probabilities = torch.rand(2, classes, 4, 6).softmax(1)
    size = torch.tensor([4.0, 6.0])
    found = class_map(SegmentDecoded(probabilities), ImageTransforms(size, size, torch.zeros(2)), (4, 6))
    assert found.dtype == kind and torch.equal(found.long(), probabilities.argmax(1))


def test_flipped_bits_and_cut_files(file: Path, openvino_file: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for source in (file, openvino_file, openvino_file.with_suffix(".bin")):
        path = _copy(openvino_file if source.suffix == ".bin" else source, tmp_path)
        damaged = path.with_suffix(source.suffix)
        whole = source.read_bytes()
        for place in draw.integers(0, len(whole) - 100, 25).tolist():
            flipped = bytearray(whole)
            flipped[place] ^= 1 << draw.integers(0, 8)
            damaged.write_bytes(flipped)
            assert "its checksum does not match" in _refused(path)
        for content in (b"", b"\0" * 100, b"hello", b"<net>", draw.bytes(5000), whole[: len(whole) // 2], whole[:-200]):
            damaged.write_bytes(content)
            _refused(path)
    (tmp_path / "model.bin").unlink()
    _copy(openvino_file, tmp_path).with_suffix(".bin").unlink()
    assert "model.bin, are missing; copy both files" in _refused(tmp_path / "model.xml")


def test_the_command_line_ends_with_one_line(
    file: Path, openvino_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    for suffix in (".onnx", ".xml", ".pt2", ".pte"):
        (tmp_path / f"garbage{suffix}").write_bytes(np.random.default_rng(0).bytes(3000))
        for command in (["describe"], ["predict", "--json"]):
            arguments = [
                *command[:1],
                str(tmp_path / f"garbage{suffix}"),
                *[str(tmp_path / "a.png")] * (len(command) - 1),
            ]
            monkeypatch.setattr("sys.argv", ["vertebra", *arguments, *command[1:]])
            with pytest.raises(SystemExit) as ended:
                main()
            printed = capsys.readouterr()
            lines = printed.err.strip().split("\n")
            assert ended.value.code == 2 and len(lines) == 1 and f"garbage{suffix}: " in lines[0], printed.err


def _changed(file: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """An ONNX file with Vertebra's metadata, changed by one who takes its checksum out."""
    proto = onnx.load(str(file))
    kept = [entry for entry in proto.metadata_props if entry.key != NAME]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    change(proto)
    path = folder / "changed.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_an_onnx_file_reads_no_other_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret!!" * 10)
    folder = tmp_path / "model"
    folder.mkdir()

    def external(location: str) -> TensorProto:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        return tensor

    def as_weight(proto: Any) -> None:
        proto.graph.initializer.append(external("../secret"))

    def as_constant(proto: Any) -> None:
        proto.graph.node.append(helper.make_node("Constant", [], ["w"], value=external("/etc/passwd")))

    def within_a_branch(proto: Any) -> None:
        body = helper.make_graph([helper.make_node("Constant", [], ["w"], value=external("../secret"))], "body", [], [])
        proto.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=body, else_branch=body))

    for change in (as_weight, as_constant, within_a_branch):
        assert "its weights are in another file" in _refused(_changed(file, folder, change))


def _varint(number: int, length: int = 1) -> bytes:
    """A number as protobuf writes it, in at least so many bytes."""
    groups = [number >> shift & 127 for shift in range(0, max(7 * length, number.bit_length()), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def test_protobuf_that_runtimes_read_in_another_way(file: Path, tmp_path: Path) -> None:
    """Keys beyond 32 bits, of which the runtimes keep 32; numbers in too many bytes; groups; field 0."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    hidden = tensor.SerializeToString()
    key, length = 5 << 3 | 2, _varint(len(hidden))
    plain = _changed(file, tmp_path, lambda proto: None).read_bytes()
    read_model(plain)

    def graph(content: bytes) -> bytes:
        return plain + _varint(7 << 3 | 2) + _varint(len(content)) + content

    with pytest.raises(InvalidFile, match="its weights are in another file"):
        read_model(graph(_varint(key) + length + hidden))  # a graph of two parts, which are merged
    for content in (
        _varint(key | 1 << 32) + length + hidden,
        _varint(key | 1 << 34) + length + hidden,
        _varint(key | 1 << 63) + length + hidden,
        _varint(key, 6) + length + hidden,
        _varint(key) + _varint(len(hidden) | 1 << 32) + hidden,
        _varint(key) + _varint(len(hidden), 6) + hidden,
        _varint(99 << 3) + _varint(1 << 64),
        _varint(99 << 3) + _varint(1, 11),
        _varint(99 << 3 | 3) + _varint(99 << 3 | 4),
        _varint(99 << 3 | 4),
        _varint(99 << 3 | 6),
        _varint(99 << 3 | 7),
        b"\0\0",
        _varint(2) + _varint(0),
    ):
        with pytest.raises(InvalidFile, match="damaged"):
            read_model(graph(content))
    beyond = tmp_path / "beyond.onnx"
    beyond.write_bytes(graph(_varint(key | 1 << 32) + length + hidden))
    assert "damaged" in _refused(beyond)


def test_an_onnx_file_brings_no_operators_of_its_own(file: Path, tmp_path: Path) -> None:
    def compiled(proto: Any) -> None:
        proto.graph.node.append(
            helper.make_node("EPContext", [], ["w"], domain="com.microsoft", ep_cache_context="x.so")
        )

    def foreign(proto: Any) -> None:
        proto.opset_import.append(helper.make_opsetid("evil", 1))
        proto.graph.node.append(helper.make_node("Run", [], ["w"], domain="evil"))

    assert "compiled for one device" in _refused(_changed(file, tmp_path, compiled))
    assert "ONNX Runtime cannot open it" in _refused(_changed(file, tmp_path, foreign))


def test_a_file_that_gives_something_else_than_it_says(file: Path, tmp_path: Path) -> None:
    def fewer(proto: Any) -> None:
        del proto.graph.output[-1]

    def renamed(proto: Any) -> None:
        text = proto.SerializeToString().replace(b"pixels", b"voxels")
        proto.ParseFromString(text)

    for change in (fewer, renamed):
        assert "unlike its metadata" in _refused(_changed(file, tmp_path, change))

    def foreign(proto: Any) -> None:
        del proto.metadata_props[:]
        proto.metadata_props.add(key=KEY, value="[" * 100_000)

    assert "no file that Vertebra exported" in _refused(_changed(file, tmp_path, foreign))

    def older(proto: Any) -> None:
        del proto.metadata_props[:]
        proto.metadata_props.add(key=KEY, value='{"format_version": 1}')

    assert "older Vertebra (format 1), but this one reads format 2" in _refused(_changed(file, tmp_path, older))


def test_metadata_with_other_classes(file: Path, tmp_path: Path) -> None:
    def changed(file: Path, branch: str, change: Callable[[dict[str, Any]], object]) -> Path:
        def edit(proto: Any) -> None:
            values = json.loads(next(entry.value for entry in proto.metadata_props if entry.key == KEY))
            change(values["branches"][branch] if branch else values)
            del proto.metadata_props[:]
            proto.metadata_props.add(key=KEY, value=json.dumps(values))

        return _changed(file, tmp_path, edit)

    for wrong in (lambda entry: entry["labels"].update(classes=1.5), lambda entry: entry.update(outputs=1.5)):
        assert "no file that Vertebra exported" in _refused(changed(file, "boxes", wrong))
    assert "no file that Vertebra exported" in _refused(changed(file, "", lambda values: values.update(channels=3.0)))
    classifier = tmp_path / "classes.onnx"
    export_model(vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=32), classifier)
    fewer = vertebra.load(changed(classifier, "classify", lambda entry: entry["labels"]["classes"].pop()))
    with pytest.raises(WeightsError, match=r"metadata has 1 classes for branch 'classify', and its outputs 2; export"):
        fewer.predict(np.zeros((8, 8, 3), np.uint8))


def test_what_a_runtime_cannot_compute_is_told_in_one_line(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"^[^\n]+ does not run on inputs \(1, 8, 8, 4\) \([^\n]+\)$"):
        vertebra.load(file).run(np.zeros((1, 8, 8, 4), np.uint8))


def test_an_openvino_file_declares_nothing_and_has_no_operators_of_its_own(openvino_file: Path, tmp_path: Path) -> None:
    path = _copy(openvino_file, tmp_path)
    text = path.read_text()
    text = text[: text.index(f"\n<!-- {NAME}")]
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    for content, said in (
        (text.replace("<net", f"{bomb}\n<net", 1), "declares entities"),
        (text.replace('version="opset1"', 'version="evil"', 1), "OpenVINO cannot open it"),
        (text.replace('offset="0"', 'offset="99999999999"', 1), "shorter than it should be"),
        (text.replace("<net", "<other", 1).replace("</net>", "</other>"), "not an OpenVINO file"),
    ):
        path.write_text(content)
        assert said in _refused(path)


def test_signals_after_two_openvino_files(openvino_file: Path) -> None:
    """Of two `openvino.Core` that end in the order in which they began, the second leaves a stack for signals that is gone; the
    next signal with a handler, of a loader's worker or of Ctrl-C, then ended the process."""
    code = (
        "import os, pathlib, signal\n"
        "from vertebra.runtimes.openvino import OpenVinoSession\n"
        f"first, second = (OpenVinoSession(pathlib.Path({str(openvino_file)!r}), 1) for _ in range(2))\n"
        "del first\n"
        "del second\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\nalive\n"), done.stderr


def test_where_weights_lie_is_read_as_openvino_reads_it() -> None:
    """Whatever the quotes, the order and what stands between; and nothing but whole numbers within the file."""

    def net(place: str, start: str = "") -> bytes:
        return f'{start}<net><layers><layer><data {place}/></layer></layers><rt_info><x offset="no"/></rt_info></net>'.encode()

    for place in (
        'offset="0" size="16"',
        "size='4' shape='1'\n offset = '12'",
        'offset="&#49;2" size="4"',
        'size="77"',
    ):
        assert read_graph(net(place), 16) is None
    assert read_graph(b"\xef\xbb\xbf" + net("", '<?xml version="1.0" encoding="UTF-8"?>'), 0) is None
    for place in (
        "offset='1' size='16'",
        "size='16' offset='1'",
        'offset="0" shape="4" size="17"',
        'offset="&#49;3" size="4"',
        'offset="18446744073709551600" size="16"',
        'offset="99999999999999999999" size="1"',
    ):
        with pytest.raises(InvalidFile, match=r"its \.bin file is shorter than it should be"):
            read_graph(net(place), 16)
    for place in (
        'offset="-1" size="1"',
        'offset=" 1" size="1"',
        'offset="0x1" size="1"',
        'offset="" size="1"',
        'offset="\u0661" size="1"',
    ):
        with pytest.raises(InvalidFile, match=r"its weights are at offset=.*, which is not a valid range"):
            read_graph(net(place), 16)
    declared = '<?xml version="1.0" encoding="{}"?>'
    bomb = net("", '<!DOCTYPE a [<!ENTITY b "bb">]>').decode()
    for content in (
        *(bomb.encode(name) for name in ("utf-16", "utf-16-le", "utf-32")),
        *((declared.format(name) + bomb).encode(name) for name in ("utf-16", "utf-7")),
        *(net("", declared.format(name)) for name in ("utf-16", "latin-1", "utf-7")),
    ):
        with pytest.raises(InvalidFile, match="is not UTF-8"):
            read_graph(content, 16)


def test_a_file_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Of two exports to one name, the second to finish says that it is taken."""
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(32, 32)).eval()
    path = tmp_path / "model.onnx"
    with pytest.raises(RunError, match=r"model\.onnx exists, and nothing is overwritten"):
        export_model(model, path, input="canvas", canvas="fixed", progress=lambda _: path.write_text("theirs"))  # type: ignore[arg-type,return-value]
    assert path.read_text() == "theirs" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("taken", ["model.bin", "model.xml", "model.xml.json"])
def test_files_of_two_exports_are_not_mixed(taken: str, tmp_path: Path) -> None:
    path, made = tmp_path / "model.xml", tmp_path / "made" / "new.xml"
    made.parent.mkdir()
    for part in export_files(made, OPENVINO):
        part.write_text("ours")
    (tmp_path / taken).write_text("theirs")
    with pytest.raises(RunError, match=f"{taken} exists, and nothing is overwritten"):
        publish_export(made, path, OPENVINO)
    assert {own.name: own.read_text() for own in tmp_path.iterdir() if own.is_file()} == {taken: "theirs"}


def test_an_export_killed_between_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file lacks its weights, and no JSON its file."""
    made = tmp_path / "new.xml"
    for names in range(4):
        folder = tmp_path / str(names)
        folder.mkdir()
        left = iter(range(names))

        def take(part: Path, target: Path, left: Iterator[int] = left) -> bool:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return take_name(part, target)

        for part in export_files(made, OPENVINO):
            part.write_text("ours")
        monkeypatch.setattr("vertebra.export.files.take_name", take)
        with pytest.raises(KeyboardInterrupt) if names < 3 else nullcontext():
            publish_export(made, folder / "model.xml", OPENVINO)
        order = ["model.bin", "model.xml", "model.xml.json"]
        assert sorted(own.name for own in folder.iterdir()) == order[:names]
