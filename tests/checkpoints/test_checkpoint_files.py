"""Weight files of any trainer load; damaged and malicious ones fail fast with a one-line error and execute nothing."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from vertebra.checkpoints import read_state_dict
from vertebra.errors import WeightsError

TENSORS = {"conv.weight": torch.ones(4, 3), "conv.bias": torch.arange(4.0)}


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("in_zip", [True, False])
def test_what_torch_saves_is_read(tmp_path: Path, in_zip: bool) -> None:
    content = {
        "model": {"conv": {"weight": TENSORS["conv.weight"]}},
        "both": [TENSORS, {"state": {0: {"step": torch.tensor(3.0)}}}],
        "args": argparse.Namespace(lr=0.1),
    }
    tensors = read_state_dict(saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=in_zip))
    assert set(tensors) == {"model.conv.weight", "both.0.conv.weight", "both.0.conv.bias", "both.1.state.0.step"}
    assert torch.equal(tensors["both.0.conv.bias"], TENSORS["conv.bias"])


def test_the_content_decides_not_the_ending(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(save(TENSORS))
    assert set(read_state_dict(tmp_path / "weights.bin")) == set(TENSORS)


def test_parameters_and_loops_are_read(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": torch.nn.Parameter(torch.ones(2)), "sparse": torch.eye(2).to_sparse()}
    content["itself"] = content
    tensors = read_state_dict(saved(tmp_path / "a.pth", content))
    assert set(tensors) == {"a"} and type(tensors["a"]) is torch.Tensor and not tensors["a"].requires_grad


def test_allowing_namespaces_leaves_torch_as_it_was(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"args": argparse.Namespace(a=1), **TENSORS})
    before = set(torch.serialization.get_safe_globals())
    read_state_dict(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with torch.serialization.safe_globals([argparse.Namespace]):
        read_state_dict(path)
        assert argparse.Namespace in torch.serialization.get_safe_globals()


class Command:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle", "in a namespace", "newer protocol"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, kind: str) -> None:
    command = Command(tmp_path / "made")
    path = tmp_path / "evil.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weight": command}, protocol=2))
    elif kind == "in a namespace":
        saved(path, {**TENSORS, "args": argparse.Namespace(run=command)})
    elif kind == "newer protocol":
        saved(path, {**TENSORS, "run": command}, pickle_protocol=4)
    else:
        saved(path, {**TENSORS, "run": command}, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert not (tmp_path / "made").exists()
    assert "\n" not in str(caught.value)
    if kind != "newer protocol":
        assert "holds more than plain tensors" in str(caught.value) and "mkdir" in str(caught.value)


def with_pickle(path: Path, content: bytes, **records: bytes) -> Path:
    """A file in the format of torch.save, with this pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", content)
        file.writestr("a/version", "3\n")
        file.writestr("a/byteorder", "little")
        for name, record in records.items():
            file.writestr(f"a/data/{name}", record)
    return path


def tensor_pickle(numel: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickle of one tensor with arbitrary claims about its storage "0"."""

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if value is storage else None

    class Rebuilt:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (storage, 0, shape, stride, False, {})

    storage = object()
    file = io.BytesIO()
    Writer(file, protocol=2).dump({"weight": Rebuilt()})
    return file.getvalue()


def test_a_file_made_by_hand_is_read(tmp_path: Path) -> None:
    values = struct.pack("<4f", 1, 2, 3, 4)
    tensors = read_state_dict(with_pickle(tmp_path / "a.pth", tensor_pickle(4, (2, 2), (2, 1)), **{"0": values}))
    assert tensors["weight"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("numel", "shape", "stride"),
    [
        (10**10, (10**10,), (1,)),  # a storage larger than its record
        (-4, (2, 2), (2, 1)),
        (4, (10**5, 10**5), (1, 1)),  # a shape larger than its storage
        (4, (10**6, 10**6), (0, 0)),  # no larger than its storage, and 4 TB when it is copied
        (0, (10**9, 0), (1, 1)),  # empty, but with a huge length
    ],
)
def test_tensors_that_claim_what_they_have_not(
    tmp_path: Path, numel: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    path = with_pickle(tmp_path / "a.pth", tensor_pickle(numel, shape, stride), **{"0": bytes(16)})
    with pytest.raises(WeightsError, match=r"a\.pth: truncated or not a weight file"):
        read_state_dict(path)


def test_a_flipped_bit_is_noticed_where_torch_wrote_checksums(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"weight": torch.arange(1000.0)})
    data = bytearray(path.read_bytes())
    offset = data.index(torch.arange(1000.0).numpy().tobytes()) + 2000
    data[offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="'a/data/0' in it is not what was saved: its checksum differs"):
        read_state_dict(path)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        saved(path, {"weight": torch.arange(1000.0)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_state_dict(path)["weight"], torch.arange(1000.0))


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02}." + bytes(1 << 20))


def overlapping(path: Path) -> None:
    """The directory names one record many times."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", bytes(4096))
        for number in range(50):
            file.filelist.append(zipfile.ZipInfo(f"a/data/{number}"))
            file.filelist[-1].file_size = file.filelist[-1].compress_size = 4096
            file.filelist[-1].CRC = file.filelist[-1].header_offset = 0
    assert path.stat().st_size < 20_000


def wide_lists(path: Path) -> None:
    """Lists of lists that share their members: 2 ** 64 paths through them."""
    inner: list[Any] = []
    for _ in range(64):
        inner = [inner, inner]
    torch.save({"a": inner, "b": 1}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (compressed, "compressed parts"),
        (overlapping, "larger than the file"),
        (wide_lists, "no tensors by name"),
        (lambda path: with_pickle(path, b"\x80\x02c__builtin__\nbytearray\nM\xe8\x03\x85R."), "no tensors by name"),
        (lambda path: torch.save(torch.ones(2), path), "no tensors by name"),
        (lambda path: torch.save({"epoch": 3}, path), "no tensors by name"),
        (lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path), "TorchScript"),
        (lambda path: path.write_bytes(b""), "truncated or not a weight file"),
        (lambda path: path.write_text("hello"), "truncated or not a weight file"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "truncated or not a weight file"),
        (lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{"), "shorter than its header"),
        (lambda path: path.mkdir(), "a folder"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_files_that_are_no_weights(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "a.pth"
    write(path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_names_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weight file"):
        read_state_dict(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="too long"):
        read_state_dict(tmp_path / ("a" * 300))


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    """Seeded damage to both kinds of torch's files and to safetensors: read, or refused in one line."""
    draw = random.Random(13)
    content = {"state_dict": TENSORS, "args": argparse.Namespace(lr=0.1)}
    sources = [
        saved(tmp_path / "new.pth", content).read_bytes(),
        saved(tmp_path / "old.pth", content, _use_new_zipfile_serialization=False).read_bytes(),
        save(TENSORS),
    ]
    path = tmp_path / "damaged.pth"
    refused = 0
    for number in range(300):
        data = bytearray(sources[number % 3])
        if draw.random() < 0.3:
            del data[draw.randrange(len(data)) :]
        for _ in range(draw.choice([1, 1, 3])):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            read_state_dict(path)
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
    assert refused > 100


def test_safetensors_that_claim_too_much(tmp_path: Path) -> None:
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [10**9, 0], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(WeightsError, match="it claims 3814 MB of tensors"):
        read_state_dict(path)
    path.write_bytes((17 << 20).to_bytes(8, "little") + b"{" + bytes(17 << 20))
    with pytest.raises(WeightsError, match="its header takes 17 MB, and that of weights less than 16"):
        read_state_dict(path)
    save_file(TENSORS, path)
    assert set(read_state_dict(path)) == set(TENSORS)
