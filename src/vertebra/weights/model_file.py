"""The model file: one safetensors file that holds the whole model.

Its header has one metadata key, ``vertebra``, with canonical JSON: the version of the format, the model's config with its
classes, and the preprocessing. Loading it executes no code from the file.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from vertebra.build import build
from vertebra.checkpoints import is_finite, one_line
from vertebra.config import ModelConfig, model_config
from vertebra.errors import ConfigError, RunError, VertebraError, WeightsError
from vertebra.files import os_errors_as_run_errors, replacing
from vertebra.keywords import check_path, strict_keywords
from vertebra.model import VisionModel, check_model
from vertebra.object_parts import resolve_parts
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.checksums import CHECKSUMS, checksum, seal, tensor_checksums
from vertebra.weights.header import CALIBRATION, FORMAT_VERSION, KEY, read_header
from vertebra.weights.skip_init import SkipInit, TooLarge
from vertebra.weights.stored_calibration import calibration_header, take_calibration
from vertebra.weights.tied_tensors import first_names, stored_names, untied

CHUNK_BYTES = 1 << 24


@strict_keywords
def save(model: VisionModel, path: str | Path) -> Path:
    """Writes the model file (``.safetensors``) atomically.

    Raises:
        ConfigError: the file has another suffix, or ``model`` is no model.
        WeightsError: the model was not built by `vertebra.create_model`, so that its parts have no names; or it was changed
            since, so that the file could not be loaded.
        RunError: the file exists or cannot be written.
    """
    check_model("save", model)
    path = check_path("path", path)
    check_new_file(path)
    problem = load_problem(model)
    if problem is not None:
        raise WeightsError(problem)
    return write(model, path)


def check_new_file(path: Path) -> None:
    """Checks the path of a model file to write.

    Raises:
        ConfigError: its suffix is not ``.safetensors``.
        RunError: it exists.
    """
    if path.suffix.lower() != ".safetensors":
        raise ConfigError(
            f"{path}: the suffix of a model file is .safetensors; a file for another runtime, such as .onnx, is written by "
            "Model.export or vertebra export"
        )
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")


def write(model: VisionModel, path: Path) -> Path:
    """Like `save`, but replaces an existing file; training saves its best weights this way.

    The file also stores how the model was made (``model.provenance``), which is not part of the model's identity.

    Raises:
        WeightsError: as for `save`, or ``model.provenance`` has values that are not plain JSON.
        RunError: the file cannot be written.
    """
    header = describe(model)
    if model.provenance:
        header["provenance"] = model.provenance
    return _write_sealed(header, untied(model.state_dict()), path)


def write_calibration(model: VisionModel, path: Path) -> Path:
    """Replaces the temperatures, thresholds and promises in a model file by those of a model, and leaves all else as it is.

    Raises:
        WeightsError: the file is damaged.
        RunError: the file cannot be written.
    """
    header, tensors = read(path)
    kept = {name: value for name, value in header.items() if name not in (CHECKSUMS, *CALIBRATION)}
    return _write_sealed({**kept, **calibration_header(model)}, tensors, path)


def _write_sealed(header: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Path:
    text = seal(header, tensors)
    with os_errors_as_run_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, synced=True) as partial:
        partial.write_bytes(serialize(dict(tensors), metadata={KEY: text}))
    return path


def describe(model: VisionModel) -> dict[str, Any]:
    """The JSON of the header."""
    if model.config is None:
        raise WeightsError("this VisionModel has no config; build it with vertebra.create_model, which names its parts")
    header = {"format_version": FORMAT_VERSION, "model": _config(model), "preprocess": model.resize_spec.to_dict()}
    return {**header, **({"origin": model.origin} if model.origin else {}), **calibration_header(model)}


def load_problem(model: VisionModel) -> str | None:
    """Why a file of this model could not be loaded, as a message with the cure; None if it could.

    The model of its config is built for that, as when the file is loaded, without initializing its weights.
    """
    if model.config is None:
        return None  # `describe` reports it
    state = model.state_dict()
    objects: dict[str, Any] = {}
    reason = _branch_problem(model)
    try:
        if reason is None:
            config = model_config(_config(model))
            objects = _parts_on_meta(model, config)
            resize = model.resize_spec
            with torch.random.fork_rng(devices=[]), SkipInit(sum(value.nbytes for value in state.values())):
                built = build(config, image_size=resize.size, resize=resize.mode, pretrained=False, objects=objects)
            reason = _difference(state, built.state_dict())
    except Exception as error:  # parts raise anything for invalid options
        if not objects:  # the copy of a foreign part may fail where a new one does not
            reason = f"its config cannot be built: {one_line(error)}"
    if reason is None:
        return None
    return (
        f"the model was changed since it was built, and a file of it could not be loaded: {reason}; build the changed model "
        "with vertebra.create_model, which takes parts as objects too, or keep the weights with torch.save(model.state_dict(), "
        "PATH)"
    )


def _branch_problem(model: VisionModel) -> str | None:
    names, stored = list(model.branches), list((model.config or {})["branches"])
    if set(names) == set(stored):
        return None
    return f"it has the branches {', '.join(names)}, and its config has {', '.join(stored)}"


def _difference(state: Mapping[str, Tensor], built: Mapping[str, Tensor]) -> str | None:
    """How the tensors of a model differ from those of the model that its config builds."""
    stored = {name for name, _ in first_names(state)}
    sources = stored_names(built, stored)
    missing = [name for name, source in sources.items() if source not in stored]
    leftover = sorted(stored - set(built))
    if missing or leftover:
        parts = [(missing, "missing"), (leftover, "left over")]
        listed = [f"{len(names)} {what} ({_listed(names)})" for names, what in parts if names]
        return f"tensors of its config are not those of the model: {', '.join(listed)}"
    for name, source in sources.items():
        if state[source].shape != built[name].shape:
            return f"'{name}' has the shape {tuple(state[source].shape)}, and {tuple(built[name].shape)} in its config"
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _parts_on_meta(model: VisionModel, config: ModelConfig) -> dict[str, nn.Module]:
    """Copies of the model's parts that are objects, without weights, by path."""
    shared = [f"shared.{kind}" for kind in ("neck", "encoder") if getattr(config.shared, kind) is not None]
    memo: dict[int, Any] = {
        id(value): nn.Parameter(torch.empty_like(value, device="meta"), value.requires_grad)
        for value in model.parameters()
    }
    memo |= {id(value): torch.empty_like(value, device="meta") for value in model.buffers()}
    return {
        path: copy.deepcopy(model.shared[shared.index(path)] if path in shared else model.get_submodule(path), memo)
        for path in config.object_parts
    }


def _config(model: VisionModel) -> dict[str, Any]:
    """The current config of the model: options of decoding may have changed since it was built."""
    config = copy.deepcopy(dict(model.config or {}))
    config.pop("init_from", None)  # belongs to the training run
    problem = _branch_problem(model)
    if problem is not None:
        raise WeightsError(f"{problem}; build the changed model with vertebra.create_model")
    objects = model_config(config).object_parts
    for name in model.branches:
        if f"branches.{name}.decoder" in objects:
            continue  # an object's options are not stored
        postprocess = getattr(model.branch(name).decoder, "postprocess", None)
        if dataclasses.is_dataclass(postprocess) and not isinstance(postprocess, type):
            config["branches"][name]["decoder"]["postprocess"] = dataclasses.asdict(postprocess)
    return config


def load(
    source: str | Path,
    device: str | torch.device = "cpu",
    *,
    verify: bool = True,
    parts: Mapping[str, Any] | None = None,
) -> VisionModel:
    """Loads a model from a model file, or from the best weights of a run folder; in evaluation mode.

    Args:
        source: a ``.safetensors`` file that Vertebra wrote, or a run folder.
        device: device of the model.
        parts: the objects that the model was built from; see `vertebra.object_parts.resolve_parts`.
        verify: checks the file against the checksums in its header, and prints a line if a weight is NaN or infinite. Files
            of older versions, which have no checksums, are read without the check.

    Raises:
        RunError: there is no such file or run.
        WeightsError: the file is truncated or damaged, is not a model file, or was written by another version.
    """
    path = model_path(source)
    header, names = read_header(path, verify=verify)
    model = _build(header, path, parts)
    model.origin = dict(header.get("origin", {}))
    model.provenance = dict(header.get("provenance", {}))
    _fill(model, names, path, tensor_checksums(header) if verify else {})
    if verify:
        warn_of_broken_numbers(model.state_dict(), path)
    return model.to(device).eval()


def load_weights(model: VisionModel, path: Path) -> None:
    """Loads the weights of a model file into a model with the same parts.

    Raises:
        WeightsError: the file is damaged, or its tensors are not those of the model.
    """
    header, names = read_header(path)
    _fill(model, names, path, tensor_checksums(header))


def _build(header: Mapping[str, Any], path: Path, parts: Mapping[str, Any] | None) -> VisionModel:
    """Builds the model of a header without its weights, in no more memory than the file justifies."""
    with _unbuildable(path):
        config = model_config(header["model"], f"{path}: model")
        resize_spec = ResizeSpec.from_dict(header["preprocess"])
    objects = resolve_parts(parts, config)
    with _unbuildable(path), SkipInit(path.stat().st_size):
        model = build(config, image_size=resize_spec.size, resize=resize_spec.mode, pretrained=False, objects=objects)
    model.resize_spec = resize_spec
    with _unbuildable(path):
        take_calibration(model, header)
    return model


@contextmanager
def _unbuildable(path: Path) -> Iterator[None]:
    """Turns errors in its body into a `WeightsError` about a file whose model cannot be built."""
    try:
        yield
    except TooLarge as error:
        raise WeightsError(f"{path}: damaged: {error}; copy or download it again") from None
    except KeyError as error:
        raise WeightsError(f"{path}: its header has no {error}, so it is not a complete model file") from None
    except VertebraError as error:
        raise WeightsError(f"{path}: the model in it cannot be built here: {one_line(error, 800)}") from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        # raised by parts for invalid options
        raise WeightsError(f"{path}: the model in it cannot be built here: {one_line(error)}") from error


def model_path(source: str | Path) -> Path:
    """The path of a model file, given the file or its run folder."""
    path = Path(source)
    try:
        if path.is_dir():
            model_file = path / "model.safetensors"
            if not model_file.is_file():
                raise RunError(f"{path} has no model.safetensors, so it is not a finished run")
            return model_file
        if not path.is_file():
            raise RunError(f"{path}: no such run folder or model file")
    except OSError as error:  # such as a name that is too long
        raise RunError(f"{path}: no such run folder or model file ({error.strerror or error})") from None
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file, checked against its checksums.

    Raises:
        WeightsError: as for `load`.
    """
    header, names = read_header(path)
    sums = tensor_checksums(header)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in names}
    for name, value in tensors.items():
        _check(path, name, value, sums)
    warn_of_broken_numbers(tensors, path)
    return header, tensors


def _check(path: Path, name: str, value: Tensor, sums: Mapping[str, int]) -> None:
    if name in sums and checksum(value) != sums[name]:
        raise WeightsError(f"{path}: damaged: '{name}' is not what was saved (its checksum differs); copy it again")


def warn_of_broken_numbers(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Prints a line if some weights are NaN or infinite."""
    broken = [name for name, value in tensors.items() if not is_finite(value)]
    if broken:
        names = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        print(f"{path}: {len(broken)} of {len(tensors)} tensors hold NaN or infinity ({names})", file=sys.stderr)


def _fill(model: VisionModel, names: list[str], path: Path, sums: Mapping[str, int]) -> None:
    """Copies a file's tensors into the model, each checked against its checksum.

    The file is reopened for each group of tensors: pages read from a memory-mapped file count as memory of this process
    until it is closed.
    """
    state = model.state_dict()
    stored = set(names)
    sources = stored_names(state, stored)
    missing = [name for name, source in sources.items() if source not in stored]
    leftover = sorted(stored - set(state))
    if missing or leftover:
        raise WeightsError(
            f"{path}: its tensors are not those of its model: {len(missing)} missing {missing[:3]}, "
            f"{len(leftover)} left over {leftover[:3]}"
        )
    for group in _groups(state):
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in group:
                value = file.get_tensor(sources[name])
                _check_kind(path, name, value, state[name])
                _check(path, sources[name], value, sums)
                state[name].copy_(value)


def _check_kind(path: Path, name: str, value: Tensor, target: Tensor) -> None:
    if value.shape != target.shape:
        raise WeightsError(f"{path}: '{name}' has the shape {tuple(value.shape)}, its model's is {tuple(target.shape)}")
    if value.is_floating_point() != target.is_floating_point() or value.is_complex():
        raise WeightsError(f"{path}: '{name}' holds {value.dtype}, its model's is {target.dtype}; copy the file again")


def _groups(tensors: dict[str, Tensor]) -> Iterator[list[str]]:
    """Groups of tensor names, each of about `CHUNK_BYTES` of data."""
    group: list[str] = []
    size = 0
    for name, value in tensors.items():
        group.append(name)
        size += value.nbytes
        if size >= CHUNK_BYTES:
            yield group
            group, size = [], 0
    yield group


def identity(model: VisionModel) -> str:
    """SHA-256 of the header's JSON and the tensors: equal content has equal identity, even in files with different bytes."""
    digest = hashlib.sha256(json.dumps(describe(model), sort_keys=True).encode())
    for name, value in sorted(untied(model.state_dict()).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
