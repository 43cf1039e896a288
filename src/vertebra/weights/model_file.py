"""The model file: one safetensors file that is the whole model.

Its header has one metadata key, ``vertebra``, with canonical JSON: the format's version, the model's config with its
classes, and the preprocessing. Nothing in it is executed.
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
from torch import Tensor

from vertebra.build import build
from vertebra.checkpoints import is_finite, one_line
from vertebra.config import model_config
from vertebra.errors import RunError, VertebraError, WeightsError
from vertebra.files import os_errors_told, replacing
from vertebra.model import VisionModel
from vertebra.object_parts import resolve_parts
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.checksums import checksum, seal, tensor_checksums
from vertebra.weights.header import FORMAT_VERSION, KEY, read_header
from vertebra.weights.skip_init import SkipInit, TooLarge

AT_ONCE = 1 << 24  # bytes


def save(model: VisionModel, path: str | Path) -> Path:
    """Writes the model file, whole or not at all.

    Raises:
        WeightsError: the model was not built by `vertebra.create_model`, so that nothing names its parts.
        RunError: the file exists, or the operating system refuses.
    """
    path = Path(path)
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")
    return write(model, path)


def write(model: VisionModel, path: Path) -> Path:
    """Like `save`, but in the place of an older file; training keeps its best weights so.

    How the model was made (``model.provenance``) is kept in the file too; it is not part of the model's identity.

    Raises:
        WeightsError: as for `save`, or ``model.provenance`` has values that are not plain.
        RunError: the file cannot be written.
    """
    header = describe(model)
    if model.provenance:
        header["provenance"] = model.provenance
    tensors = _untied(model.state_dict())
    text = seal(header, tensors)
    with os_errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(serialize(tensors, metadata={KEY: text}))
    return path


def describe(model: VisionModel) -> dict[str, Any]:
    """The JSON of the header."""
    if model.config is None:
        raise WeightsError("this VisionModel has no config; build it with vertebra.create_model, which names its parts")
    header = {"format_version": FORMAT_VERSION, "model": _config(model), "preprocess": model.resize_spec.to_dict()}
    return {**header, "origin": model.origin} if model.origin else header


def _config(model: VisionModel) -> dict[str, Any]:
    """The config as the model is now: options of decoding may have been changed since it was built."""
    config = copy.deepcopy(dict(model.config or {}))
    config.pop("init_from", None)  # how the weights began is the run's affair
    objects = model_config(config).object_parts
    for name in model.branches:
        if f"branches.{name}.decoder" in objects:
            continue  # an object's options are not stored
        postprocess = model.branch(name).decoder.postprocess
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
    """A model from a model file, or from the best weights of a run folder; in evaluation mode.

    Args:
        source: a ``.safetensors`` file that Vertebra wrote, or a run folder.
        device: where the model is to be.
        parts: the objects that the model was built from; see `vertebra.object_parts.resolve_parts`.
        verify: compares the file with the checksums in its header, and prints a line if a weight is no number. Files of
            versions that wrote no checksums are read without.

    Raises:
        RunError: there is no such file or run.
        WeightsError: the file is cut off or damaged, is no model file, or was written by a newer version.
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
    """Puts the weights of a model file into a model of the same parts.

    Raises:
        WeightsError: the file is damaged, or its tensors are not those of the model.
    """
    header, names = read_header(path)
    _fill(model, names, path, tensor_checksums(header))


def _build(header: Mapping[str, Any], path: Path, parts: Mapping[str, Any] | None) -> VisionModel:
    """The model of a header, its weights not read yet; it takes no more memory than the file can fill."""
    with _unbuildable(path):
        config = model_config(header["model"], f"{path}: model")
        resize_spec = ResizeSpec.from_dict(header["preprocess"])
    objects = resolve_parts(parts, config)
    with _unbuildable(path), SkipInit(path.stat().st_size):
        model = build(config, image_size=resize_spec.size, resize=resize_spec.mode, pretrained=False, objects=objects)
    model.resize_spec = resize_spec
    return model


@contextmanager
def _unbuildable(path: Path) -> Iterator[None]:
    """Errors within it are those of a file whose model cannot be built."""
    try:
        yield
    except TooLarge as error:
        raise WeightsError(f"{path}: damaged: {error}; copy or download it again") from None
    except KeyError as error:
        raise WeightsError(f"{path}: its header has no {error}, so it is no whole model file") from None
    except VertebraError as error:
        raise WeightsError(f"{path}: the model in it cannot be built here: {one_line(error, 800)}") from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        # whatever a part raises for options that it cannot have been saved with
        raise WeightsError(f"{path}: the model in it cannot be built here: {one_line(error)}") from error


def model_path(source: str | Path) -> Path:
    """The model file that a user means with a file or a run folder."""
    path = Path(source)
    try:
        if path.is_dir():
            inside = path / "model.safetensors"
            if not inside.is_file():
                raise RunError(f"{path} has no model.safetensors, so it is no finished run")
            return inside
        if not path.is_file():
            raise RunError(f"{path}: no such run folder or model file")
    except OSError as error:  # a name that is too long
        raise RunError(f"{path}: no such run folder or model file ({error.strerror or error})") from None
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file, compared with its checksums.

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
    """Prints a line if some weights are NaN or infinite: they were so when the file was written."""
    broken = [name for name, value in tensors.items() if not is_finite(value)]
    if broken:
        names = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        print(f"{path}: {len(broken)} of {len(tensors)} tensors hold NaN or infinity ({names})", file=sys.stderr)


def _fill(model: VisionModel, names: list[str], path: Path, sums: Mapping[str, int]) -> None:
    """Copies a file's tensors into the model's, each compared with its checksum.

    The file is opened anew for every few of them, since all that was read of a mapped file counts as this process' memory
    until it is closed.
    """
    own = model.state_dict()
    first = {_place(value): name for name, value in reversed(own.items())}
    given = set(names)
    sources = {name: name if name in given else first[_place(value)] for name, value in own.items()}
    missing = [name for name, source in sources.items() if source not in given]
    leftover = sorted(given - set(own))
    if missing or leftover:
        raise WeightsError(
            f"{path}: its tensors are not those of its model: {len(missing)} missing {missing[:3]}, "
            f"{len(leftover)} left over {leftover[:3]}"
        )
    for group in _groups(own):
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in group:
                value = file.get_tensor(sources[name])
                _check_kind(path, name, value, own[name])
                _check(path, sources[name], value, sums)
                own[name].copy_(value)


def _check_kind(path: Path, name: str, value: Tensor, own: Tensor) -> None:
    if value.shape != own.shape:
        raise WeightsError(f"{path}: '{name}' has the shape {tuple(value.shape)}, its model's is {tuple(own.shape)}")
    if value.is_floating_point() != own.is_floating_point() or value.is_complex():
        raise WeightsError(f"{path}: '{name}' holds {value.dtype}, its model's is {own.dtype}; copy the file again")


def _groups(tensors: dict[str, Tensor]) -> Iterator[list[str]]:
    """Names of tensors that together are not much larger than `AT_ONCE`."""
    group: list[str] = []
    size = 0
    for name, value in tensors.items():
        group.append(name)
        size += value.nbytes
        if size >= AT_ONCE:
            yield group
            group, size = [], 0
    yield group


def _untied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors, tied ones once (under their first name)."""
    kept: dict[str, Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, value in state.items():
        place = _place(value)
        if value.numel() and place in seen:
            continue
        seen.add(place)
        kept[name] = value.detach().cpu().contiguous()
    return kept


def _place(value: Tensor) -> tuple[Any, ...]:
    return (value.device, value.data_ptr(), value.shape, value.dtype) if value.numel() else (id(value),)


def identity(model: VisionModel) -> str:
    """SHA-256 over the header's JSON and the tensors: equal content has equal identity, whatever the file's bytes."""
    digest = hashlib.sha256(json.dumps(describe(model), sort_keys=True).encode())
    for name, value in sorted(_untied(model.state_dict()).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
