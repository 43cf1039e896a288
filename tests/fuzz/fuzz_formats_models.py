"""Model files: exported ones, the model file, and a run's checkpoint.

Half of the damage is to the bytes of a file. The other half is to what a file says (its metadata, and of a ``.pt2`` its program),
under a checksum that is right: what comes of a tool's mistake, or of ill will.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_damage import spoil_bytes, spoil_json
from fuzz_runner import Format

import vertebra
from vertebra.export.file_metadata import file_metadata, output_types
from vertebra.export.targets.executorch import ExecuTorchProgram
from vertebra.export.targets.onnx import describe_onnx
from vertebra.export.targets.openvino import describe_openvino, to_openvino
from vertebra.export.targets.torch_export import write_torch
from vertebra.export.targets.via_onnx import drop_raw_outputs, write_onnx
from vertebra.export.torch_export import output_names
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.runtimes.model_files.checksum import TRAILERS, append_checksum
from vertebra.runtimes.model_files.metadata import KEY, FileInfo, to_json
from vertebra.runtimes.model_files.pt2_archive import PROGRAM, rewrite_archive
from vertebra.runtimes.model_files.summary import describe_file
from vertebra.training.saved_state import PARTS, read_state
from vertebra.weights.model_file import save

Rng = np.random.Generator
SIDE = 32
INPUTS = {"images": [None, 3, SIDE, SIDE], "sizes": [None, 2]}
TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")


def _model() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(SIDE, SIDE)).eval()


def _metadata(model: VisionModel) -> str:
    info, names = model_info(model), output_names(model)
    outputs = {name: (kind, [None, 2]) for name, kind in zip(names, output_types(model), strict=True)}
    fields = {"classify": [name.rpartition("/")[2] for name in names]}
    return to_json(
        FileInfo(info, fields, {"precision": "fp32"}, model.config, file_metadata(model, info, INPUTS, outputs))
    )


def _write_onnx(folder: Path, name: str = "model.onnx") -> Path:
    model, path = _model(), folder / name
    write_onnx(model, path, output_names(model), free=False)
    drop_raw_outputs(path)
    describe_onnx(path, _metadata(model))
    return path


def _write_openvino(folder: Path) -> Path:
    source = _write_onnx(folder, "source.onnx")
    path = folder / "model.xml"
    to_openvino(source, path, float16=False)
    describe_openvino(path, _metadata(_model()))
    source.unlink()
    return path


def _write_torch(folder: Path) -> Path:
    model, path = _model(), folder / "model.pt2"
    write_torch(model, path, free=False)
    rewrite_archive(path, _metadata(model))
    return path


def _write_executorch(folder: Path) -> Path:
    model, path = _model(), folder / "model.pte"
    ExecuTorchProgram(model).write(path, _metadata(model))
    return path


def _write_checkpoint(folder: Path) -> Path:
    """As Lightning lays it out, with what is read before training goes on."""
    model, path = _model(), folder / "last.ckpt"
    course = {"last_epoch": 3, "_last_lr": [0.1], "base_lrs": [0.2]}
    rest: dict[str, Any] = {key: {} for key in PARTS}
    torch.save({**rest, "epoch": 1, "state_dict": model.state_dict(), "lr_schedulers": [course], KEY: {}}, path)
    return path


def _spoil_file(rng: Rng, path: Path) -> None:
    files = [own for own in (path, path.with_suffix(".bin")) if own.exists()]
    chosen = files[int(rng.integers(len(files)))]
    chosen.write_bytes(spoil_bytes(rng, chosen.read_bytes()))


def _spoil_onnx(rng: Rng, path: Path) -> None:
    if rng.integers(2):
        return _spoil_file(rng, path)
    import onnx

    proto = onnx.load(str(path))
    text = next(entry.value for entry in proto.metadata_props if entry.key == KEY)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=KEY, value=spoil_json(rng, json.loads(text)).decode(errors="replace"))
    path.write_bytes(proto.SerializeToString())
    return append_checksum(path)


def _spoil_openvino(rng: Rng, path: Path) -> None:
    if rng.integers(2):
        return _spoil_file(rng, path)
    own = TRAILERS[".xml"]
    content = path.read_bytes()
    start = content.index(own.before)
    path.write_bytes(
        spoil_bytes(rng, content[max(0, start - 4000) : start]) if rng.integers(8) == 0 else content[:start]
    )
    text = path.read_bytes().replace(b"&quot;classes&quot;", rng.choice([b"&amp;", b"1", b"&quot;task&quot;", b"&#0;"]))
    path.write_bytes(text)
    return append_checksum(path)


def _spoil_torch(rng: Rng, path: Path) -> None:
    """Often a member that is read as text, in an archive whose checksums are right."""
    if rng.integers(2):
        return _spoil_file(rng, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = f"model/{rng.choice([PROGRAM, PROGRAM, *TABLES, f'extra/{KEY}'])}"
    members[chosen] = spoil_json(rng, json.loads(members[chosen]))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return None


def _read_exported(path: Path, number: int) -> object:
    describe_file(path)
    model = vertebra.load(path)
    return model.predict(np.zeros((40, 48, 3), np.uint8)), model.report


def _read_checkpoint(path: Path, number: int) -> Any:
    return read_state(path)


FORMATS = {
    "onnx": Format(_write_onnx, _spoil_onnx, _read_exported),
    "openvino": Format(_write_openvino, _spoil_openvino, _read_exported),
    "pt2": Format(_write_torch, _spoil_torch, _read_exported),
    "pte": Format(_write_executorch, _spoil_file, _read_exported),
    "model_file": Format(
        lambda folder: save(_model(), folder / "model.safetensors"),
        _spoil_file,
        lambda path, number: vertebra.load(path),
    ),
    "checkpoint": Format(_write_checkpoint, _spoil_file, _read_checkpoint),
}
