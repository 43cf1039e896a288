"""The runtime and precision of a model, and the user's choice, which is stored beside the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.files import replacing
from vertebra.keywords import check_count
from vertebra.runtimes import BUILT_IN

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
}


@dataclass(frozen=True)
class RuntimeConfig:
    """The runtime of a model and its options.

    Attributes:
        runtime: "torch", "onnx" (ONNX Runtime), "openvino" or "tensorrt" (by ONNX Runtime).
        precision: "fp32", "bf16", "fp16" or "int8".
        compile: whether the model is compiled with ``torch.compile``; only for torch.
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
            supporting = [name for name, precisions in PRECISIONS.items() if self.precision in precisions]
            raise ConfigError(f"{self.runtime} does not support {self.precision}; these do: {', '.join(supporting)}")
        if self.threads is not None:
            check_count("threads", self.threads)
        if self.compile and self.runtime != "torch":
            raise ConfigError(f"compile works with torch only; leave it out, or leave out the runtime {self.runtime}")

    @property
    def name(self) -> str:
        """The name to print: "openvino bf16"."""
        return f"{self.runtime} {self.precision}{' compiled' if self.compile else ''}"

    @property
    def file_precision(self) -> str:
        """The precision of the exported file; fp32 if the runtime can run any file in the precision."""
        return "fp32" if self.opening_precision is not None else self.precision

    @property
    def opening_precision(self) -> str | None:
        """The precision in which the exported file is opened; None for the file's own precision."""
        built_in = next((runtime for runtime in BUILT_IN if runtime.name == self.runtime), None)
        return self.precision if built_in is not None and self.precision in built_in.precisions else None


def choice_path(model_file: Path) -> Path:
    """The file that stores the choice for a model file."""
    return model_file.with_suffix(".runtime.json")


def save_choice(model_file: Path, runtime_config: RuntimeConfig, figures: dict[str, Any]) -> Path:
    """Stores the choice beside the model, replacing an earlier one.

    Args:
        model_file: the model.
        runtime_config: the choice.
        figures: the measurements, for people who read the file.
    """
    path = choice_path(model_file)
    content = {"model": identity(model_file), **asdict(runtime_config), "measured": figures}
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")
    return path


def read_choice(model_file: Path) -> RuntimeConfig | None:
    """The stored choice; None if there is none, or if the model has changed since.

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
