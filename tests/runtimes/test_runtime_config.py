"""Runtime and precision of a model, and the choice that is stored beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vertebra.errors import ConfigError, UnknownName
from vertebra.runtimes.runtime_config import RuntimeConfig, choice_path, read_choice, save_choice


@pytest.mark.parametrize(
    ("runtime_config", "message"),
    [
        (
            {"runtime": "torch", "precision": "int8"},
            "torch does not support int8; these do: onnx, openvino, tensorrt",
        ),
        ({"runtime": "onnx", "precision": "bf16"}, "onnx does not support bf16"),
        ({"runtime": "openvino", "compile": True}, "works with torch only"),
    ],
)
def test_what_does_not_go_together(runtime_config: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RuntimeConfig(**runtime_config)


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match="openvno"):
        RuntimeConfig("openvno")
    with pytest.raises(UnknownName, match="int4"):
        RuntimeConfig("onnx", "int4")


def test_which_file_a_way_runs() -> None:
    precisions = [("openvino", "bf16"), ("openvino", "fp16"), ("tensorrt", "fp16"), ("onnx", "int8")]
    assert [RuntimeConfig(*pair).file_precision for pair in precisions] == ["fp32", "fp32", "fp16", "int8"]
    assert [RuntimeConfig(*pair).opening_precision for pair in precisions] == ["bf16", "fp16", None, None]


def test_a_choice_is_kept_for_the_model_that_it_was_made_for(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    assert read_choice(model) is None
    save_choice(model, RuntimeConfig("openvino", "bf16", threads=2), {"latency": 0.01})
    assert read_choice(model) == RuntimeConfig("openvino", "bf16", threads=2)
    model.write_bytes(b"other weights")
    assert read_choice(model) is None
    choice_path(model).write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        read_choice(model)
