"""Arrays of .mat files: as SciPy writes them, in each version and layout; damaged files raise ValueError only."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vertebra.annotations.mask_arrays import read_array
from vertebra.annotations.matlab_files import MAX_BYTES, is_hdf5, mat_arrays
from vertebra.errors import DataError

MASK = np.array([[0, 1, 2], [3, 4, 255]])
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def _written(content: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    savemat(stream, content, **options)
    return stream.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_each_type(kind: str, packed: bool) -> None:
    values = (MASK % 100).astype(kind)
    ((name, read),) = mat_arrays(_written({"mask": values}, do_compression=packed))
    assert name == "mask" and np.array_equal(read, values) and read.dtype.isnative


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_numbers_of_version_4(kind: str) -> None:
    values = (MASK % 100).astype(kind)
    arrays = dict(mat_arrays(_written({"a": values, "text": "words", "b": values + 1j}, format="4")))
    assert list(arrays) == ["a", "b"] and np.array_equal(arrays["a"], values) and np.array_equal(arrays["b"], values)


def test_numbers_of_the_other_byte_order() -> None:
    content = struct.pack(">5i", 1040, 2, 3, 0, 2) + b"m\0" + MASK.T.astype(">u2").tobytes()
    ((name, read),) = mat_arrays(content)
    assert name == "m" and np.array_equal(read, MASK)
    body = b"".join(struct.pack(">II", kind, len(part)) + part + bytes(-len(part) % 8) for kind, part in (
        (6, struct.pack(">II", 11, 0)), (5, struct.pack(">ii", 2, 3)), (1, b"mask_of_a"), (4, MASK.T.astype(">u2").tobytes()),
    ))  # fmt: skip
    content = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    ((name, read),) = mat_arrays(content)
    assert name == "mask_of_a" and np.array_equal(read, MASK)


def test_structures_and_cells() -> None:
    cell = np.empty((1,), dtype=object)
    cell[0] = {"Segmentation": MASK.astype("u1"), "text": "words"}
    several = np.empty((2,), dtype=object)
    several[:] = [MASK, MASK]
    content = {"GTcls": cell, "deep": {"a": {"b": {"mask": MASK}}}, "many": several, "none": np.zeros((0, 0))}
    arrays = dict(mat_arrays(_written(content)))
    assert list(arrays) == ["GTcls.Segmentation", "deep.a.b.mask", "none"]
    assert np.array_equal(arrays["deep.a.b.mask"], MASK)
    too_deep = {"a": {"b": {"c": {"d": {"e": {"f": MASK}}}}}}
    assert not list(mat_arrays(_written({"a": too_deep})))


def test_damaged_files_raise_one_error() -> None:
    sound = [_written({"a": {"mask": MASK}, "b": MASK}, do_compression=packed) for packed in (False, True)]
    sound.append(_written({"a": MASK, "b": MASK}, format="4"))
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(1500):
        data = bytearray(sound[number % 3])
        at = int(rng.integers(len(data)))
        match int(rng.integers(3)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case _:
                data[at : at + 4] = int(rng.choice([0, 1, 14, 15, 0x7FFFFFFF, 0xFFFFFFFF])).to_bytes(4, "little")
        try:
            list(mat_arrays(bytes(data)))
        except ValueError:
            refused += 1
    assert 100 < refused < 1400


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(MAX_BYTES + 1), 1)
    content = _written({"a": MASK})[:128] + struct.pack("<II", 15, len(packed)) + packed
    file = tmp_path / "a.mat"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat: this \.mat file is damaged \(a variable .* larger than 256 MB\)"):
        read_array(file)


def test_hdf5() -> None:
    assert is_hdf5(b"MATLAB 7.3 MAT-file".ljust(200)) and is_hdf5(b"\x89HDF\r\n")
    assert not is_hdf5(_written({"a": MASK}))
