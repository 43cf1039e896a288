"""Import of other libraries' models: builds the equivalent Vertebra model and loads their weights into it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vertebra.build import build
from vertebra.checkpoints import NOTHING, Choice, LoadReport, Stripped, choose, choose_before, one_line, read_state_dict
from vertebra.config import model_config
from vertebra.errors import ConfigError, UnknownName, VertebraError, WeightsError
from vertebra.keywords import check_path
from vertebra.model import VisionModel
from vertebra.weights.peers.base import FolderBuilder, PeerModel, State

LIBRARIES = ("torchvision", "timm", "smp", "transformers")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ImportReport:
    """Which tensors of a peer's model were loaded.

    Attributes:
        parts: the matches of each part of the model ("backbone", "branches.detect.neck" …).
        leftover: the peer's tensors without a counterpart.
        dropped: the peer's tensors that are ignored on purpose.
        unread: tensors of the backbone that the source lacks and that no branch reads.
        stripped: prefixes removed from the names in the weights file.
    """

    parts: dict[str, LoadReport]
    leftover: tuple[str, ...]
    dropped: tuple[str, ...]
    unread: tuple[str, ...]
    stripped: Stripped = NOTHING

    def lines(self) -> list[str]:
        """A line for each part, and one for the leftover tensors."""
        lines = [f"{part}: {report.summary()}" for part, report in self.parts.items()]
        if self.stripped != NOTHING:
            lines.insert(
                0, f"weights{'; '.join(filter(None, (self.stripped.description(), self.stripped.ambiguity())))}"
            )
        lines.append(f"left over: {', '.join(self.leftover) or 'nothing'}")
        if self.dropped:
            lines.append(f"left out on purpose: {len(self.dropped)} ({', '.join(self.dropped[:3])} …)")
        if self.unread:
            lines.append(
                f"not in the source, and read by no branch: {len(self.unread)} ({', '.join(self.unread[:3])} …)"
            )
        return lines


def import_model(source: str, *, weights: str | Path | None = None) -> VisionModel:
    """A model of another library as a Vertebra model, with equal outputs.

    Args:
        source: ``LIBRARY:NAME``. "torchvision:fasterrcnn_resnet50_fpn": a builder of torchvision's detectors, segmenters or
            classifiers; "timm:resnet50.a1_in1k": a timm model; "smp:FOLDER" and "transformers:FOLDER": a folder with
            ``config.json`` and safetensors, or a name on the Hugging Face hub.
        weights: a file with the library's own parameter names; by default the published weights are downloaded. For timm
            and torchvision.

    Returns:
        The model, in evaluation mode; ``model.origin`` has the source, its license and the name of the weights file.

    Raises:
        ConfigError: there is no such library or model.
        WeightsError: the weights cannot be downloaded or read, or are not those of this model.
    """
    return import_with_report(source, weights=weights)[0]


def import_with_report(source: str, *, weights: str | Path | None = None) -> tuple[VisionModel, ImportReport]:
    """Like `import_model`, with a report of the matches."""
    library, colon, name = str(source).partition(":")
    if not colon or not name:
        raise ConfigError(f"'{source}' is not a source; write LIBRARY:NAME, with one of {', '.join(LIBRARIES)}")
    if library not in LIBRARIES:
        raise UnknownName("library", library, LIBRARIES)
    path = None if weights is None else check_path("weights", weights)
    load_peer = {"torchvision": _torchvision, "timm": _timm}.get(library)
    try:
        imported = load_peer(name, path) if load_peer is not None else _from_folder(library, name, path)
    except (LookupError, ValueError, RuntimeError) as error:
        if isinstance(error, VertebraError):
            raise
        reason = f"without {error}" if isinstance(error, KeyError) else one_line(error)
        raise WeightsError(  # the name tables failed
            f"{source}: the weights are not those of this model ({reason}); give the weights of this architecture"
        ) from error
    model, report = assemble(imported.peer, source)
    model.origin = imported.origin
    return model, replace(report, stripped=imported.choice.stripped)


class _Import(NamedTuple):
    """A peer's model, the tensors chosen from its file, and their origin."""

    peer: PeerModel
    choice: Choice
    origin: dict[str, str]


def _with_origin(peer: PeerModel, choice: Choice, source: str, weights: Path | None, license: str = "") -> _Import:
    origin = {"source": source, "license": license or peer.license}
    return _Import(peer, choice, origin if weights is None else {**origin, "weights": weights.name})


def assemble(peer: PeerModel, source: str = "the source") -> tuple[VisionModel, ImportReport]:
    """Builds the Vertebra model of a peer's model and loads all of its tensors.

    Raises:
        WeightsError: a tensor of the model is missing in the source, or has another shape.
    """
    config = model_config(peer.model)
    model = build(config, image_size=peer.resize_spec.size, resize=peer.resize_spec.mode, pretrained=False)
    model.resize_spec = peer.resize_spec
    state = model.state_dict()
    dropped = tuple(name for name in peer.tensors if any(re.fullmatch(rule, name) for rule in peer.dropped))
    tensors = {name: value for name, value in peer.tensors.items() if name not in dropped}
    for name, value in state.items():
        if name.endswith(COUNTER) and name not in tensors:
            tensors[name] = torch.zeros_like(value)
    unread = _unread(model) - set(tensors)
    report = ImportReport(
        parts={part: _report(part, state, tensors, unread) for part in _parts(state)},
        leftover=tuple(name for name in tensors if name not in state),
        dropped=dropped,
        unread=tuple(sorted(unread)),
    )
    unmatched = [name for part in report.parts.values() for name in (*part.missing, *part.mismatched_shapes)]
    if unmatched:
        raise WeightsError(
            f"{source}: its weights are not those of this model; "
            + "; ".join(report.lines())
            + ". Give the weights of this architecture"
        )
    model.load_state_dict({**state, **{name: value for name, value in tensors.items() if name in state}})
    return model.eval(), report


def _unread(model: VisionModel) -> set[str]:
    """Names of the backbone's parameters and buffers that no branch reads, such as its classifier's last layers."""
    names = model.unused_parameters()
    layers = {name.rpartition(".")[0] for name in names}
    return names | {name for name, _ in model.named_buffers() if name.rpartition(".")[0] in layers}


def _parts(state: Mapping[str, Any]) -> list[str]:
    """The parts of a model that hold tensors, in order."""
    return list(dict.fromkeys(_part_of(name) for name in state))


def _part_of(name: str) -> str:
    steps = name.split(".")
    depth = {"branches": 3, "shared": 2}.get(steps[0], 1)
    return ".".join(steps[:depth])


def _report(part: str, state: State, tensors: Mapping[str, Any], unread: set[str]) -> LoadReport:
    names = [name for name in state if _part_of(name) == part and name not in unread]
    present = [name for name in names if name in tensors]
    return LoadReport(
        matched=tuple(name for name in present if tensors[name].shape == state[name].shape),
        missing=tuple(name for name in names if name not in tensors),
        leftover=(),
        mismatched_shapes=tuple(name for name in present if tensors[name].shape != state[name].shape),
    )


def _torchvision(name: str, weights: Path | None) -> _Import:
    import torchvision

    from vertebra.weights.peers.torchvision import builders, expected_tensors

    known = builders()
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    if weights is None:
        published = torchvision.models.get_model_weights(name).DEFAULT
        state = _downloaded("torchvision", name, lambda: published.get_state_dict(progress=True))
        choice = Choice(state, len(state))
    else:
        choice = choose(read_state_dict(weights), expected_tensors(name))
    return _with_origin(known[name](name, choice.tensors), choice, f"torchvision:{name}", weights)


def _timm(name: str, weights: Path | None) -> _Import:
    from vertebra.backbones.catalog import check_name
    from vertebra.backbones.pretrained import create
    from vertebra.weights.peers.timm_classify import classifier, expected_tensors

    check_name(name)
    if weights is None:
        state = create(name, hub=True).state_dict()
        choice = Choice(state, len(state))
    else:
        choice = choose(read_state_dict(weights), expected_tensors(name))
    return _with_origin(classifier(name, choice.tensors), choice, f"timm:{name}", weights)


def _from_folder(library: str, name: str, weights: Path | None) -> _Import:
    """A model of smp or transformers, published as a folder with ``config.json``."""
    folder = Path(name)
    if not folder.is_dir():
        folder = _hub_folder(library, name)
    elif folder.resolve().name:
        name = folder.resolve().name  # the origin must not contain local paths
    file = folder / "config.json"
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not a mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{file}: not readable as JSON ({one_line(error)}); the folder needs the model's config.json"
        ) from None
    files = [weights] if weights is not None else sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder}: no safetensors file beside config.json; give it: weights=... (--weights)")
    state: State = {}
    for path in files:
        state.update(read_state_dict(path))
    if library == "smp":
        from vertebra.weights.peers.smp import BEGINNINGS, BUILDERS

        build_peer = _pick(BUILDERS, "smp architecture", str(config.get("_model_class", "")).lower(), file)
    else:
        from vertebra.weights.peers.transformers import BEGINNINGS, BUILDERS

        build_peer = _pick(BUILDERS, "transformers model type", str(config.get("model_type", "")), file)
        config["_name_or_path"] = name.rpartition("/")[2]
    choice = choose_before(state, BEGINNINGS)
    return _with_origin(
        build_peer(config, choice.tensors), choice, f"{library}:{name}", weights, _stated_license(folder)
    )


def _stated_license(folder: Path) -> str:
    """The license in the front matter of a published folder's README; "" if there is none."""
    readme = folder / "README.md"
    if not readme.is_file():
        return ""
    with readme.open(encoding="utf-8", errors="replace") as file:
        match = re.search(r"\A---\n(?:.*\n)*?license:[ \t]*([\w.+-]+)", file.read(8192))
    return match[1] if match else ""


def _pick(builders: Mapping[str, FolderBuilder], what: str, name: str, file: Path) -> FolderBuilder:
    if name not in builders:
        raise ConfigError(f"{file}: {what} '{name}' is not supported; supported are {', '.join(sorted(builders))}")
    return builders[name]


def _hub_folder(library: str, name: str) -> Path:
    from huggingface_hub import snapshot_download

    def download() -> Any:
        return snapshot_download(name, allow_patterns=["config.json", "*.safetensors", "README.md"])

    return Path(_downloaded(library, name, download))


def _downloaded(library: str, name: str, download: Callable[[], Any]) -> Any:
    from vertebra.backbones.hub import from_hub, from_url

    try:
        with from_url(), from_hub() if library != "torchvision" else contextlib.nullcontext():
            return download()
    except Exception as error:  # the clients raise many kinds of errors
        raise WeightsError(
            f"the weights of {library}:{name} cannot be downloaded ({type(error).__name__}: {one_line(error)}). Without a "
            "network, download them elsewhere and give the file (weights=..., or --weights), or a folder with config.json and "
            "safetensors"
        ) from error
