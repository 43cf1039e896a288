"""Damaged model files: a one-line error, before they take time or memory; checksums detect a flipped bit."""

from __future__ import annotations

import copy
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import vertebra
from vertebra.errors import VertebraError, WeightsError
from vertebra.weights.checksums import checksum
from vertebra.weights.model_file import read


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = vertebra.create_model("test_resnet", neck="fpn", decoder="fcos", classes=["a", "b"], image_size=64)
    return vertebra.save(model, tmp_path_factory.mktemp("models") / "model.safetensors")


def header_of(file: Path) -> dict[str, Any]:
    with safe_open(file, framework="pt") as opened:
        header: dict[str, Any] = json.loads(opened.metadata()["vertebra"])
    return header


def test_a_flipped_bit_anywhere_is_noticed(file: Path, tmp_path: Path) -> None:
    raw, draw = file.read_bytes(), random.Random(13)
    start = 8 + int.from_bytes(raw[:8], "little")
    offsets = [draw.randrange(start, len(raw)) for _ in range(15)] + [draw.randrange(start) for _ in range(45)]
    damaged = tmp_path / "damaged.safetensors"
    for offset in offsets:
        data = bytearray(raw)
        data[offset] ^= 1 << draw.randrange(8)
        damaged.write_bytes(data)
        with pytest.raises(WeightsError) as caught:
            vertebra.load(damaged)
        assert "\n" not in str(caught.value), offset
        if offset >= start:
            assert "is not what was saved (its checksum differs)" in str(caught.value)
            with pytest.raises(WeightsError, match="its checksum differs"):
                read(damaged)


def test_checking_can_be_switched_off(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="checksum"):
        vertebra.load(tmp_path / "a.safetensors")
    assert vertebra.load(tmp_path / "a.safetensors", verify=False).resize_spec.size == (64, 64)


def test_checksums_are_of_type_shape_and_bytes() -> None:
    values = torch.arange(6.0)
    assert checksum(values) == checksum(values.clone()) != checksum(values.view(2, 3))
    assert checksum(values) != checksum(values.view(torch.int32)) and checksum(values) != checksum(values + 1)
    assert checksum(values.view(2, 3).t()) == checksum(values.view(2, 3).t().contiguous())
    assert isinstance(checksum(torch.tensor(3)), int) and isinstance(
        checksum(torch.zeros(0, dtype=torch.bfloat16)), int
    )


def test_weights_that_are_no_numbers_are_told_in_a_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = vertebra.load(file)
    assert capsys.readouterr().err == ""
    with torch.no_grad():
        model.backbone.body.conv1[0].weight[0] = torch.nan
    path = vertebra.save(model, tmp_path / "nan.safetensors")
    vertebra.load(path)
    total = len(model.state_dict())
    assert capsys.readouterr().err == (
        f"{path}: 1 of {total} tensors hold NaN or infinity (backbone.body.conv1.0.weight)\n"
    )


def test_a_file_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VertebraError, match="file is a file, and a folder is needed there"):
        vertebra.save(vertebra.load(file), tmp_path / "file" / "model.safetensors")


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Sets values in a header: ``model__backbone__name=...``."""

    def change(header: dict[str, Any]) -> None:
        for path, value in values.items():
            *keys, last = path.split("__")
            container = header
            for key in keys:
                container = container[key]
            container[last] = value

    return change


HUGE = 10**9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(model__backbone__in_channels=HUGE), "'in_channels' must be from 1 to 4096"),
        (changed(model__branches__detect__neck__channels=HUGE), "larger model than the file holds"),
        (changed(model__backbone={"name": "vit_giant_patch14_224"}), "larger model than the file holds"),
        (
            changed(model__branches__detect__encoder={"name": "transformer", "depth": HUGE}),
            "larger model than the file holds|cannot be built",
        ),
        (changed(model__branches__detect__classes=[str(number) for number in range(200_000)]), "holds|shape"),
        (changed(model__backbone__name="hf-hub:someone/something"), "unknown backbone"),
        (changed(model__backbone__name=["resnet18"]), "must be a text"),
        (changed(model__branches=[]), "cannot be built here"),
        (changed(model="resnet18"), "entry of its header is damaged"),
        (changed(origin=[1]), "entry of its header is damaged"),
        (changed(preprocess=None), "entry of its header is damaged"),
        (changed(preprocess__size="x"), "cannot be built here"),
        (changed(format_version=[9] * 100), "this Vertebra reads format 2; upgrade"),
        (lambda header: header.pop("preprocess"), "has no 'preprocess', so it is not a complete model file"),
    ],
)
def test_headers_that_no_model_has(
    file: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    header = header_of(file)
    del header["checksums"]
    change(header)
    path = tmp_path / "a.safetensors"
    save_file(load_file(file), path, metadata={"vertebra": json.dumps(header)})
    before = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message) as caught:
            vertebra.load(path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 20
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to(torch.int32), "holds torch.int32, its model's is torch.float32"),
        (lambda value: value.to(torch.complex64), "holds torch.complex64"),
        (lambda value: value[None], r"has the shape \(1, "),
    ],
)
def test_tensors_of_another_kind(file: Path, tmp_path: Path, change: Callable[[Tensor], Tensor], message: str) -> None:
    header = header_of(file)
    del header["checksums"]
    tensors = load_file(file)
    tensors["backbone.body.conv1.0.weight"] = change(tensors["backbone.body.conv1.0.weight"]).contiguous()
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"vertebra": json.dumps(header)})
    with pytest.raises(WeightsError, match=message):
        vertebra.load(path)


def test_texts_that_are_no_header(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for text in ("", "[]", "7", '"x"', "{", "[" * 100_000, '{"model": {}}'):
        save_file(load_file(file), path, metadata={"vertebra": text})
        with pytest.raises(WeightsError, match="the 'vertebra' entry of its header is damaged"):
            vertebra.load(path)
    raw = file.read_bytes()
    for length in (0, 5, len(raw), 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + raw[8:])
        with pytest.raises(WeightsError, match="truncated or not a safetensors file"):
            vertebra.load(path)


def test_seeded_damage_ends_in_one_line_or_loads(file: Path, tmp_path: Path) -> None:
    """Headers with one changed value and without checksums, as an attacker could write them."""
    header, tensors, draw = header_of(file), load_file(file), random.Random(13)
    del header["checksums"]
    path = tmp_path / "a.safetensors"
    refused = 0
    for _ in range(40):
        changed_header = copy.deepcopy(header)
        container: Any = changed_header
        while True:
            key = draw.choice(list(container)) if isinstance(container, dict) else draw.randrange(len(container))
            if not isinstance(container[key], dict | list) or not container[key] or draw.random() < 0.2:
                break
            container = container[key]
        container[key] = draw.choice([HUGE, -1, 0, None, "x", [], {}, True, 3.5, [1, 2]])
        save_file(tensors, path, metadata={"vertebra": json.dumps(changed_header)})
        try:
            vertebra.load(path)
        except VertebraError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20
