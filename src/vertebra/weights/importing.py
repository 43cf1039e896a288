"""Models of other libraries come in: the composition that equals theirs is built, and their weights are put into it."""

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
from vertebra.model import VisionModel
from vertebra.weights.peers.base import FolderBuilder, PeerModel, State

LIBRARIES = ("torchvision", "timm", "smp", "transformers")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ImportReport:
    """What of a peer's model came in.

    Attributes:
        parts: for each part of the model ("backbone", "branches.detect.neck" …), what matched.
        leftover: the peer's tensors that have no place.
        dropped: those that were left out on purpose.
        unread: tensors of the backbone that the source lacks and that nothing reads.
        stripped: what was taken off the names in the weights file.
    """

    parts: dict[str, LoadReport]
    leftover: tuple[str, ...]
    dropped: tuple[str, ...]
    unread: tuple[str, ...]
    stripped: Stripped = NOTHING

    def lines(self) -> list[str]:
        """A line for each part, and one for what was left over."""
        lines = [f"{part}: {report.summary()}" for part, report in self.parts.items()]
        if self.stripped != NOTHING:
            lines.insert(0, f"weights{'; '.join(filter(None, (self.stripped.words(), self.stripped.remark())))}")
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
            ``config.json`` and safetensors, or a name on the Hugging ModelInfo hub.
        weights: a file with the library's own key names; by default what the library publishes is downloaded. For timm and
            torchvision.

    Returns:
        The model, in evaluation mode; ``model.origin`` has the source, its license and the name of the weights file.

    Raises:
        ConfigError: there is no such library or model.
        WeightsError: the weights cannot be had or read, or are not those of this model.
    """
    return import_with_report(source, weights=weights)[0]


def import_with_report(source: str, *, weights: str | Path | None = None) -> tuple[VisionModel, ImportReport]:
    """Like `import_model`, with the report of what matched."""
    library, colon, name = source.partition(":")
    if not colon or not name:
        raise ConfigError(f"'{source}' is no source; write LIBRARY:NAME, with one of {', '.join(LIBRARIES)}")
    if library not in LIBRARIES:
        raise UnknownName("library", library, LIBRARIES)
    path = None if weights is None else Path(weights)
    find = {"torchvision": _torchvision, "timm": _timm}.get(library)
    try:
        found = find(name, path) if find is not None else _from_folder(library, name, path)
    except (LookupError, ValueError, RuntimeError) as error:
        if isinstance(error, VertebraError):
            raise
        what = f"without {error}" if isinstance(error, KeyError) else one_line(error)
        raise WeightsError(  # what the tables of names stumble over
            f"{source}: the weights are not those of this model ({what}); give the weights of this very architecture"
        ) from error
    model, report = assemble(found.peer, source)
    model.origin = found.origin
    return model, replace(report, stripped=found.choice.stripped)


class _Found(NamedTuple):
    """A peer's model, which of its file's tensors were taken, and where they come from."""

    peer: PeerModel
    choice: Choice
    origin: dict[str, str]


def _found(peer: PeerModel, choice: Choice, source: str, weights: Path | None, license: str = "") -> _Found:
    origin = {"source": source, "license": license or peer.license}
    return _Found(peer, choice, origin if weights is None else {**origin, "weights": weights.name})


def assemble(peer: PeerModel, source: str = "the source") -> tuple[VisionModel, ImportReport]:
    """Builds the composition of a peer's model and puts its tensors in, all of them.

    Raises:
        WeightsError: a tensor of the model is missing in the source, or has another shape.
    """
    config = model_config(peer.model)
    model = build(config, image_size=peer.resize_spec.size, resize=peer.resize_spec.mode, pretrained=False)
    model.resize_spec = peer.resize_spec
    own = model.state_dict()
    dropped = tuple(name for name in peer.tensors if any(re.fullmatch(rule, name) for rule in peer.dropped))
    given = {name: value for name, value in peer.tensors.items() if name not in dropped}
    for name, value in own.items():
        if name.endswith(COUNTER) and name not in given:
            given[name] = torch.zeros_like(value)
    unread = _unread(model) - set(given)
    report = ImportReport(
        parts={part: _report(part, own, given, unread) for part in _parts(own)},
        leftover=tuple(name for name in given if name not in own),
        dropped=dropped,
        unread=tuple(sorted(unread)),
    )
    wrong = [name for part in report.parts.values() for name in (*part.missing, *part.mismatched_shapes)]
    if wrong:
        raise WeightsError(
            f"{source}: its weights are not those of this model; "
            + "; ".join(report.lines())
            + ". Give the weights of this very architecture"
        )
    model.load_state_dict({**own, **{name: value for name, value in given.items() if name in own}})
    return model.eval(), report


def _unread(model: VisionModel) -> set[str]:
    """Names of what the backbone holds for outputs that no branch asks for, such as its own classifier's last layers."""
    names = model.unused_parameters()
    layers = {name.rpartition(".")[0] for name in names}
    return names | {name for name, _ in model.named_buffers() if name.rpartition(".")[0] in layers}


def _parts(own: Mapping[str, Any]) -> list[str]:
    """The parts of a model that hold tensors, in order."""
    return list(dict.fromkeys(_part_of(name) for name in own))


def _part_of(name: str) -> str:
    steps = name.split(".")
    depth = {"branches": 3, "shared": 2}.get(steps[0], 1)
    return ".".join(steps[:depth])


def _report(part: str, own: State, given: Mapping[str, Any], unread: set[str]) -> LoadReport:
    names = [name for name in own if _part_of(name) == part and name not in unread]
    known = [name for name in names if name in given]
    return LoadReport(
        matched=tuple(name for name in known if given[name].shape == own[name].shape),
        missing=tuple(name for name in names if name not in given),
        leftover=(),
        mismatched_shapes=tuple(name for name in known if given[name].shape != own[name].shape),
    )


def _torchvision(name: str, weights: Path | None) -> _Found:
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
    return _found(known[name](name, choice.tensors), choice, f"torchvision:{name}", weights)


def _timm(name: str, weights: Path | None) -> _Found:
    from vertebra.backbones.catalog import check_name
    from vertebra.backbones.pretrained import create
    from vertebra.weights.peers.timm_classify import classifier, expected_tensors

    check_name(name)
    if weights is None:
        state = create(name, hub=True).state_dict()
        choice = Choice(state, len(state))
    else:
        choice = choose(read_state_dict(weights), expected_tensors(name))
    return _found(classifier(name, choice.tensors), choice, f"timm:{name}", weights)


def _from_folder(library: str, name: str, weights: Path | None) -> _Found:
    """A model that is published as a folder with ``config.json``: of smp or transformers."""
    folder = Path(name)
    if not folder.is_dir():
        folder = _hub_folder(library, name)
    elif folder.resolve().name:
        name = folder.resolve().name  # its place on this machine is nobody else's affair
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
        raise WeightsError(f"{folder}: no safetensors file beside config.json; give it with --weights")
    state: State = {}
    for path in files:
        state.update(read_state_dict(path))
    if library == "smp":
        from vertebra.weights.peers.smp import BEGINNINGS, BUILDERS

        build_peer = _pick(BUILDERS, "smp architecture", str(config.get("_model_class", "")).lower(), file)
    else:
        from vertebra.weights.peers.transformers import BEGINNINGS, BUILDERS

        build_peer = _pick(BUILDERS, "transformers model type", str(config.get("model_type", "")), file)
    choice = choose_before(state, BEGINNINGS)
    return _found(build_peer(config, choice.tensors), choice, f"{library}:{name}", weights, _stated_license(folder))


def _stated_license(folder: Path) -> str:
    """The license at the top of a published folder's README, "" where it states none."""
    readme = folder / "README.md"
    if not readme.is_file():
        return ""
    with readme.open(encoding="utf-8", errors="replace") as file:
        found = re.search(r"\A---\n(?:.*\n)*?license:[ \t]*([\w.+-]+)", file.read(8192))
    return found[1] if found else ""


def _pick(builders: Mapping[str, FolderBuilder], what: str, name: str, file: Path) -> FolderBuilder:
    if name not in builders:
        raise ConfigError(f"{file}: {what} '{name}' is not known here; known are {', '.join(sorted(builders))}")
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
    except Exception as error:  # the clients raise many kinds; the way out is the same
        raise WeightsError(
            f"the weights of {library}:{name} cannot be had ({type(error).__name__}: {one_line(error)}). Without a "
            "network, download them elsewhere and give the file with --weights, or a folder with config.json and safetensors"
        ) from error
