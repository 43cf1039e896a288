"""A ``.pt2`` file runs no code: what an export does not hold is refused in one line, before PyTorch sees it."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from vertebra.errors import WeightsError
from vertebra.export.targets.torch_export import write_torch
from vertebra.model import VisionModel
from vertebra.runtimes.model_files.pt2_archive import (
    PROGRAM,
    SAMPLES,
    read_members,
    read_metadata,
    rewrite_archive,
    sanitized_copy,
)
from vertebra.runtimes.torch_export import TorchSession

Members = dict[str, bytes]
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"


class _Runs:
    """A pickle that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", decoder="upsample", classes=["a", "b"], image_size=(32, 32)).eval()


@pytest.fixture(scope="module")
def raw(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as ``torch.export.save`` writes it."""
    path = tmp_path_factory.mktemp("pt2") / "raw.pt2"
    write_torch(model, path, free=True)
    return path


@pytest.fixture(scope="module")
def good(raw: Path) -> Path:
    """The same file as Vertebra writes it."""
    path = raw.with_name("good.pt2")
    path.write_bytes(raw.read_bytes())
    rewrite_archive(path, '{"format_version": 1}')
    return path


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """What is there once code of a file has run."""
    return tmp_path / "ran"


def _write(path: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"model/{name}", content)
    return path


def _with_program(members: Members, change: Callable[[Any], None]) -> Members:
    program = json.loads(members[PROGRAM])
    change(program)
    return {**members, PROGRAM: json.dumps(program).encode()}


def _nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


def _sizes(program: Any) -> Any:
    """The first symbolic size."""
    tensors = program["graph_module"]["graph"]["tensor_values"].values()
    return next(side["as_expr"] for own in tensors for side in own["sizes"] if "as_expr" in side)


def _pickled(value: Any) -> bytes:
    target = io.BytesIO()
    torch.save(value, target)
    return target.getvalue()


@contextmanager
def _unprotected() -> Iterator[None]:
    """Torch alone, without its warnings; one of its log lines has an argument too few."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _refused(path: Path, ran: Path) -> str:
    """The message, of one line, that a file is refused with; nothing has run."""
    with pytest.raises(WeightsError) as caught:
        TorchSession(path)
    message = str(caught.value)
    assert not ran.exists(), "code of the file was run"
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_what_is_written_holds_no_pickle_no_python_and_no_local_folder(
    raw: Path, good: Path, model: VisionModel
) -> None:
    assert b"stack_trace" in raw.read_bytes() and read_members(raw)[SAMPLES]
    members = read_members(good)
    assert members[SAMPLES] == b"" and b"vertebra/export/torch_export.py" not in good.read_bytes()
    assert json.loads(members[PROGRAM])["guards_code"] == []
    session = TorchSession(good)
    assert read_metadata(good) == '{"format_version": 1}'
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 96), dtype=np.uint8)
    sizes = np.array([[64, 96]] * 3)
    with torch.no_grad():
        expected = model(torch.from_numpy(images), torch.from_numpy(sizes))["segment"].probabilities
    np.testing.assert_allclose(session.run(images, sizes)[0], expected.numpy(), atol=1e-5)
    with _unprotected():
        assert torch.export.load(good).example_inputs is None


def test_a_file_of_an_older_export_is_read_without_its_sample_inputs(raw: Path) -> None:
    assert len(TorchSession(raw).inputs) == 2
    with zipfile.ZipFile(sanitized_copy(raw)) as archive:
        assert archive.getinfo(f"model/{SAMPLES}").file_size == 0


def test_sample_inputs_that_run_code(good: Path, tmp_path: Path, ran: Path) -> None:
    evil = {**read_members(good), SAMPLES: _pickled(((torch.zeros(1),), {"x": _Runs(ran)}))}
    path = _write(tmp_path / "evil.pt2", evil)
    assert "pickle that could run code" in _refused(path, ran)
    with _unprotected():
        torch.export.load(path)
    assert ran.exists(), "torch alone runs it: the file is what it should be"


def test_a_weight_that_is_a_pickle(good: Path, tmp_path: Path, ran: Path) -> None:
    members = read_members(good)
    table = json.loads(members[WEIGHTS])
    own = next(iter(table["config"].values()))
    own["use_pickle"] = True
    evil = {**members, WEIGHTS: json.dumps(table).encode(), f"data/weights/{own['path_name']}": _pickled(_Runs(ran))}
    assert "is a pickle, which could run code" in _refused(_write(tmp_path / "evil.pt2", evil), ran)


@pytest.mark.parametrize("prefix", ["custom_obj_0", "opaque_obj_0"])
def test_a_constant_that_is_an_object(prefix: str, good: Path, tmp_path: Path, ran: Path) -> None:
    members = read_members(good)
    table = json.loads(members[CONSTANTS])
    table["config"]["own"] = {"path_name": prefix, "is_param": False, "use_pickle": True, "tensor_meta": None}
    evil = {**members, CONSTANTS: json.dumps(table).encode()}
    assert "is a pickle" in _refused(_write(tmp_path / "table.pt2", evil), ran)
    evil[f"data/constants/{prefix}"] = pickle.dumps(_Runs(ran))
    assert f"constants/{prefix}', which exported models do not contain" in _refused(
        _write(tmp_path / "b.pt2", evil), ran
    )


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/wrapper.so",
        "data/aotinductor/model/wrapper.cpp",
        "data/aotinductor/model/kernel.cubin",
        "data/executorch/model.pte",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/sample_inputs/other.pt",
        "models/other.json",
        "extra/run.py",
        "../../outside",
        "data/weights/../../../outside",
        "code/__torch__.py",
    ],
)
def test_members_that_no_export_has(name: str, good: Path, tmp_path: Path, ran: Path) -> None:
    evil = {**read_members(good), name: pickle.dumps(_Runs(ran))}
    assert "exported models do not contain" in _refused(_write(tmp_path / "evil.pt2", evil), ran)


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.higher_order.while_loop",
        "torch.ops.inductor.resize_storage_bytes_.default",
        "_operator.methodcaller",
        "_operator.attrgetter",
        "math.__loader__.load_module",
        "#aoti:run",
    ],
)
def test_operators_that_do_more_than_compute(target: str, good: Path, tmp_path: Path, ran: Path) -> None:
    def call(program: Any) -> None:
        _nodes(program)[-1].update(
            target=target, inputs=[{"name": "", "arg": {"as_string": "touch"}, "kind": 1}], metadata={}
        )

    path = _write(tmp_path / "evil.pt2", _with_program(read_members(good), call))
    assert f"it calls '{target}'" in _refused(path, ran)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').mkdir({ran!r})",
        "Symbol('s1').__class__.__mro__[-1].__subclasses__()",
        "Integer(open({ran!r}, 'w').write('x'))",
        "(lambda: 1)()",
        "[1 for _ in (1,)]",
        "Pow(Integer(9), Pow(Integer(9), Pow(Integer(9), Integer(9))))",
        "9**9**9**9",
        "Symbol('os.mkdir')",
        "Symbol('s1', positive=print)",
        "1" * 30,
        "(" * 300 + ")" * 300,
        "s1 +",
    ],
)
def test_symbolic_sizes_that_are_more_than_arithmetic(expression: str, good: Path, tmp_path: Path, ran: Path) -> None:
    text = expression.replace("{ran!r}", repr(str(ran)))
    evil = _with_program(read_members(good), lambda program: _sizes(program).update(expr_str=text))
    assert "symbolic size" in _refused(_write(tmp_path / "evil.pt2", evil), ran)


def test_torch_alone_evaluates_a_symbolic_size(good: Path, tmp_path: Path, ran: Path) -> None:
    text = f"__import__('os').mkdir({str(ran)!r})"
    evil = _with_program(read_members(good), lambda program: _sizes(program).update(expr_str=text))
    with _unprotected(), pytest.raises(Exception):  # noqa: B017 - whatever it stumbles over afterwards
        torch.export.load(_write(tmp_path / "evil.pt2", evil))
    assert ran.exists(), "the expressions of the test above are what they should be"


def test_names_that_are_python(good: Path, tmp_path: Path, ran: Path) -> None:
    code = f"x = __import__('os').mkdir({str(ran)!r}); y"
    members = read_members(good)

    def rename(program: Any) -> None:
        old = _nodes(program)[0]["name"]
        text = json.dumps(program).replace(f'"{old}"', json.dumps(code))
        program.clear()
        program.update(json.loads(text))

    for change in (
        rename,
        lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(
            forward_arg_names=[code, "b"]
        ),
        lambda program: program["graph_module"]["signature"]["input_specs"][0]["parameter"].update(parameter_name=code),
        lambda program: program["range_constraints"].update({code: {"min_val": 1, "max_val": 2}}),
        lambda program: program.update(verifiers=[code]),
        lambda program: _nodes(program)[0]["outputs"][0].update(as_tensor={"name": code}),
    ):
        assert "an invalid name" in _refused(_write(tmp_path / "evil.pt2", _with_program(members, change)), ran)


def test_arguments_and_types_that_no_export_has(good: Path, tmp_path: Path, ran: Path) -> None:
    tree = json.dumps([1, {"type": "os.mkdir", "context": "null", "children_spec": []}])

    def argument(value: Any) -> Callable[[Any], None]:
        return lambda program: _nodes(program)[0]["inputs"][0].update(arg=value)

    for change, said in (
        (argument({"as_operator": "torch.os.system"}), "as_operator"),
        (argument({"as_graph": {"name": "a", "graph": {}}}), "as_graph"),
        (argument({"as_custom_obj": {"name": "a", "class_fqn": "b"}}), "as_custom_obj"),
        (argument({"as_string": "/etc/passwd"}), "the text '/etc/passwd'"),
        (argument({"as_device": {"type": "cuda", "index": 0}}), "the device 'cuda'"),
        (argument({"as_int": 2**70}), "a number that is too large"),
        (
            lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=tree),
            "of the type",
        ),
        (lambda program: program.pop("graph_module"), "its graph is damaged"),
    ):
        assert said in _refused(_write(tmp_path / "evil.pt2", _with_program(read_members(good), change)), ran)


def test_guards_are_python_and_left_out(good: Path, tmp_path: Path, ran: Path) -> None:
    code = f"__import__('os').mkdir({str(ran)!r})"
    evil = _with_program(read_members(good), lambda program: program.update(guards_code=[code]))
    session = TorchSession(_write(tmp_path / "evil.pt2", evil))
    session.run(np.zeros((1, 3, 64, 96), np.uint8), np.array([[64, 96]]))
    assert not ran.exists()


def test_tensors_that_reach_beyond_their_numbers(good: Path, tmp_path: Path, ran: Path) -> None:
    members = read_members(good)
    for key, value in (("sizes", 10**9), ("strides", 10**9), ("storage_offset", 10**9), ("sizes", -1)):
        table = json.loads(members[WEIGHTS])
        meta = next(iter(table["config"].values()))["tensor_meta"]
        (meta[key] if key == "storage_offset" else meta[key][0])["as_int"] = value
        path = _write(tmp_path / "evil.pt2", {**members, WEIGHTS: json.dumps(table).encode()})
        assert "reaches beyond its numbers" in (said := _refused(path, ran)) or "an invalid size" in said


def test_archives_that_are_bombs(good: Path, tmp_path: Path, ran: Path) -> None:
    members = read_members(good)
    bomb = {**members, "data/weights/weight_9999": b"\0" * 10**7}
    path = _write(tmp_path / "compressed.pt2", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**7 and "is compressed" in _refused(path, ran)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that comes twice
        with zipfile.ZipFile(_write(tmp_path / "twice.pt2", members), "a") as archive:
            archive.writestr(f"model/{PROGRAM}", "{}")
    assert "twice" in _refused(tmp_path / "twice.pt2", ran)
    deep = {**members, PROGRAM: b"[" * 100_000 + b"]" * 100_000}
    assert "its graph is damaged" in _refused(_write(tmp_path / "deep.pt2", deep), ran)


def test_damage_is_told_in_one_line(good: Path, tmp_path: Path, ran: Path) -> None:
    whole = good.read_bytes()
    draw = np.random.default_rng(0)
    path = tmp_path / "damaged.pt2"
    for content in (b"", b"PK\x03\x04", b"garbage" * 100, whole[:1000], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        _refused(path, ran)
    told = 0
    for place in draw.integers(0, len(whole), 40).tolist():
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.integers(0, 8)
        path.write_bytes(flipped)
        try:
            with zipfile.ZipFile(sanitized_copy(path)) as read, zipfile.ZipFile(sanitized_copy(good)) as expected:
                assert {info.filename: info.CRC for info in read.infolist()} == {
                    info.filename: info.CRC for info in expected.infolist()
                }, "a flipped bit came through"
        except WeightsError as error:
            assert "\n" not in str(error)
            told += 1
    assert told > 30, "most bits of a file are of its weights, each of which has a checksum"
    assert zlib.crc32(whole) == zlib.crc32(good.read_bytes())
