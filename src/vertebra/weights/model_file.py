"""The model file: one safetensors file that is the whole model.

Its header has one metadata key, ``vertebra``, with canonical JSON: the format's version, the model's config with its
classes, and the preprocessing. Nothing in it is executed.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from vertebra.build import build
from vertebra.config import model_config
from vertebra.errors import RunError, VertebraError, WeightsError
from vertebra.model import VisionModel
from vertebra.preprocess.plan import Plan
from vertebra.weights.unfilled import Unfilled

FORMAT_VERSION = 1
KEY = "vertebra"
AT_ONCE = 1 << 24  # bytes


def save(model: VisionModel, path: str | Path) -> Path:
    """Writes the model file, whole or not at all.

    Raises:
        WeightsError: the model was built from objects, so that a file could not name its parts.
        RunError: the file exists.
    """
    path = Path(path)
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")
    return write(model, path)


def write(model: VisionModel, path: Path) -> Path:
    """Like `save`, but in the place of an older file; training keeps its best weights so."""
    whole = {**describe(model), **({"provenance": model.provenance} if model.provenance else {})}
    header = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(serialize(_untied(model.state_dict()), metadata={KEY: header}))
    partial.replace(path)
    return path


def describe(model: VisionModel) -> dict[str, Any]:
    """The JSON of the header."""
    if model.config is None:
        raise WeightsError(
            "this model was built from objects, and a file could not name its parts; "
            "offer them as entry points (group vertebra.necks and the like) and build by name"
        )
    header = {"format_version": FORMAT_VERSION, "model": _config(model), "preprocess": model.plan.to_dict()}
    return {**header, "origin": model.origin} if model.origin else header


def _config(model: VisionModel) -> dict[str, Any]:
    """The config as the model is now: options of decoding may have been changed since it was built."""
    config = copy.deepcopy(dict(model.config or {}))
    config.pop("start_from", None)  # how the weights began is the run's affair
    for name in model.branches:
        post = getattr(model.branch(name).decoder, "post", None)
        if dataclasses.is_dataclass(post) and not isinstance(post, type):
            config["branches"][name]["decoder"]["post"] = dataclasses.asdict(post)
    return config


def load(source: str | Path, device: str | torch.device = "cpu") -> VisionModel:
    """A model from a model file, or from the best weights of a run folder; in evaluation mode.

    Args:
        source: a ``.safetensors`` file that Vertebra wrote, or a run folder.
        device: where the model is to be.

    Raises:
        RunError: there is no such file or run.
        WeightsError: the file is cut off, is no model file, or was written by a newer version.
    """
    path = model_path(source)
    header, names = read_header(path)
    try:
        config = model_config(header["model"], f"{path}: model")
        plan = Plan.from_dict(header["preprocess"])
        with Unfilled():  # type: ignore[no-untyped-call]
            model = build(config, image_size=plan.size, resize=plan.mode, pretrained=False)
    except KeyError as error:
        raise WeightsError(f"{path}: its header has no {error}, so it is no whole model file") from None
    except VertebraError as error:
        raise WeightsError(f"{path}: the model in it cannot be built here: {error}") from error
    model.plan = plan
    model.origin = dict(header.get("origin", {}))
    model.provenance = dict(header.get("provenance", {}))
    _fill(model, names, path)
    return model.to(device).eval()


def model_path(source: str | Path) -> Path:
    """The model file that a user means with a file or a run folder."""
    path = Path(source)
    if path.is_dir():
        inside = path / "model.safetensors"
        if not inside.exists():
            raise RunError(f"{path} has no model.safetensors, so it is no finished run")
        return inside
    if not path.exists():
        raise RunError(f"{path}: no such run folder or model file")
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file."""
    header, names = read_header(path)
    with safe_open(path, framework="pt") as file:
        return header, {name: file.get_tensor(name) for name in names}


def read_header(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Header of a model file, and the names of its tensors.

    Raises:
        WeightsError: as for `load`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cut off or no safetensors file ({error}); copy or download it again") from None
    if KEY not in metadata:
        raise WeightsError(
            f"{path}: a safetensors file, but no Vertebra model (no '{KEY}' in its header); "
            f"weights for a backbone are given with pretrained: {path.name}"
        )
    try:
        header: dict[str, Any] = json.loads(metadata[KEY])
        version = header["format_version"]
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{path}: the '{KEY}' entry of its header is damaged; copy or download it again") from None
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: of format {version}; this Vertebra reads format {FORMAT_VERSION}. Upgrade vertebra"
        )
    return header, names


def _fill(model: VisionModel, names: list[str], path: Path) -> None:
    """Copies a file's tensors into the model's. The file is opened anew for every few of them, since all that was read of a mapped
    file counts as this process' memory until it is closed."""
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
                if value.shape != own[name].shape:
                    raise WeightsError(
                        f"{path}: '{name}' has the shape {tuple(value.shape)}, its model's is {tuple(own[name].shape)}"
                    )
                own[name].copy_(value)


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
