"""The ways to run a model: what computes, in which precision; and the one that a user chose, kept beside the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.files import replacing

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
}


@dataclass(frozen=True)
class RuntimeConfig:
    """One way to run a model.

    Attributes:
        runtime: "torch", "onnx" (ONNX Runtime), "openvino" or "tensorrt" (by ONNX Runtime).
        precision: "fp32", "bf16", "fp16" or "int8".
        compile: of torch alone, whether the model is compiled first.
        threads: of the CPU; None for all cores.

    Raises:
        ConfigError: the runtime does not exist, or has no such precision.
    """

    runtime: str = "torch"
    precision: str = "fp32"
    compile: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.runtime not in PRECISIONS:
            raise UnknownName("runtime", self.runtime, PRECISIONS)
        known = sorted({name for own in PRECISIONS.values() for name in own})
        if self.precision not in known:
            raise UnknownName("precision", self.precision, known)
        if self.precision not in PRECISIONS[self.runtime]:
            able = [name for name, own in PRECISIONS.items() if self.precision in own]
            raise ConfigError(f"{self.runtime} does not run in {self.precision} here; these do: {', '.join(able)}")
        if self.compile and self.runtime != "torch":
            raise ConfigError(f"only torch compiles; leave out --compile, or --runtime {self.runtime}")

    @property
    def name(self) -> str:
        """For people: "openvino bf16"."""
        return f"{self.runtime} {self.precision}{' compiled' if self.compile else ''}"

    @property
    def file_precision(self) -> str:
        """Of the exported file that it runs: bf16 is chosen when the file is opened."""
        return (
            "fp32"
            if self.precision == "bf16" or (self.runtime == "openvino" and self.precision == "fp16")
            else self.precision
        )


def choice_path(model_file: Path) -> Path:
    """Where the chosen way of a model file is kept."""
    return model_file.with_suffix(".runtime.json")


def save_choice(model_file: Path, way: RuntimeConfig, figures: dict[str, Any]) -> Path:
    """Keeps the chosen way beside the model, in the place of an earlier one.

    Args:
        model_file: the model.
        way: what was chosen.
        figures: what was measured, for the reader.
    """
    path = choice_path(model_file)
    content = {"model": identity(model_file), **asdict(way), "measured": figures}
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")
    return path


def read_choice(model_file: Path) -> RuntimeConfig | None:
    """The chosen way; None where there is none, or where the model has changed since.

    Raises:
        ConfigError: the file is damaged.
    """
    path = choice_path(model_file)
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        own = {name: values[name] for name in ("runtime", "precision", "compile", "threads")}
        known = values["model"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: damaged; remove it, or run: vertebra benchmark --save") from None
    return RuntimeConfig(**own) if known == identity(model_file) else None


def identity(model_file: Path) -> str:
    """What tells a model file from another, by its content."""
    digest = hashlib.sha256()
    with model_file.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()[:12]
