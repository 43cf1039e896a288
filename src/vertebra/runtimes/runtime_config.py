"""In which runtime and precision a model runs; and the choice of a user, stored beside the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.files import replacing
from vertebra.runtimes import BUILT_IN

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
}


@dataclass(frozen=True)
class RuntimeConfig:
    """The runtime that runs a model, and its options.

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
        known = sorted({name for precisions in PRECISIONS.values() for name in precisions})
        if self.precision not in known:
            raise UnknownName("precision", self.precision, known)
        if self.precision not in PRECISIONS[self.runtime]:
            able = [name for name, precisions in PRECISIONS.items() if self.precision in precisions]
            raise ConfigError(f"{self.runtime} does not run in {self.precision} here; these do: {', '.join(able)}")
        if self.compile and self.runtime != "torch":
            raise ConfigError(f"only torch compiles; leave out --compile, or --runtime {self.runtime}")

    @property
    def name(self) -> str:
        """For people: "openvino bf16"."""
        return f"{self.runtime} {self.precision}{' compiled' if self.compile else ''}"

    @property
    def file_precision(self) -> str:
        """Of the exported file that it runs; fp32 where the runtime computes any file in the precision."""
        return "fp32" if self.opening_precision is not None else self.precision

    @property
    def opening_precision(self) -> str | None:
        """What the exported file is opened in; None where it computes in what it was exported in."""
        chosen = next((runtime for runtime in BUILT_IN if runtime.name == self.runtime), None)
        return self.precision if chosen is not None and self.precision in chosen.precisions else None


def choice_path(model_file: Path) -> Path:
    """The file that stores the choice for a model file."""
    return model_file.with_suffix(".runtime.json")


def save_choice(model_file: Path, runtime_config: RuntimeConfig, figures: dict[str, Any]) -> Path:
    """Stores the choice beside the model; it replaces an earlier one.

    Args:
        model_file: the model.
        runtime_config: the choice.
        figures: what was measured, for people who read the file.
    """
    path = choice_path(model_file)
    content = {"model": identity(model_file), **asdict(runtime_config), "measured": figures}
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")
    return path


def read_choice(model_file: Path) -> RuntimeConfig | None:
    """The stored choice; None where there is none, or where the model has changed since.

    Raises:
        ConfigError: the file is damaged.
    """
    path = choice_path(model_file)
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        options = {name: values[name] for name in ("runtime", "precision", "compile", "threads")}
        model = values["model"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: damaged; remove it, or run: vertebra benchmark --save") from None
    return RuntimeConfig(**options) if model == identity(model_file) else None


def identity(model_file: Path) -> str:
    """The first digits of the SHA-256 of a model file."""
    digest = hashlib.sha256()
    with model_file.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()[:12]
