"""The parts catalog: ``docs/parts.md`` and a page for each part under ``docs/parts/``, from the code. `make docs` writes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vertebra.backbones import BACKBONES, TimmBackbone, families
from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.parts import Part, describe, describe_class, find, names
from vertebra.testing.synthetic import fake_labels, fake_proposals

KINDS = ("neck", "encoder", "decoder")
CANVAS = (640, 640)
CLASSES = 80
RESNET50 = FeatureSpec((Level(64, 2), Level(256, 4), Level(512, 8), Level(1024, 16), Level(2048, 32)), embedding=2048)
PLAIN = FeatureSpec((Level(768, 16),), embedding=768)
GOES_WITH = json.loads((Path(__file__).parent / "goes_with.json").read_text(encoding="utf-8"))


def default(value: object) -> str:
    if value is ...:
        return "required"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return f"`{json.dumps(value)}`"


def escaped(text: str) -> str:
    """A bar ends a table's cell, also inside code."""
    return text.replace("|", "\\|")


def options(part: Part) -> list[str]:
    if not part.options:
        return []
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in part.options:
        meaning = escaped(option.meaning).replace("``", "`")
        lines.append(f"| `{option.name}` | `{escaped(option.type)}` | {default(option.default)} | {meaning} |")
    return [*lines, ""]


def features(spec: FeatureSpec) -> Features:
    """Maps of one canvas, on the default device."""
    maps = tuple(
        torch.zeros(1, level.channels, -(-CANVAS[0] // level.stride), -(-CANVAS[1] // level.stride))
        for level in spec.levels
    )
    embedding = None if spec.embedding is None else torch.zeros(1, spec.embedding)
    return Features(maps, embedding, Frame(CANVAS, torch.tensor([CANVAS])))


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a part costs on a backbone, and what goes in and comes out."""

    backbone: str
    parameters: int
    operations: int
    inputs: list[str]
    outputs: list[str]


def cost(kind: str, name: str) -> Cost:
    """Of a part with its defaults: on ResNet-50, or where that does not fit on a plain vision transformer."""
    for backbone, spec in (("ResNet-50", RESNET50), ("ViT-B/16", PLAIN)):
        try:
            return cost_on(backbone, spec, kind, name)
        except IncompatiblePartsError:
            continue
    raise SystemExit(f"{kind} '{name}' fits neither a pyramid nor a plain transformer")


def cost_on(backbone: str, spec: FeatureSpec, kind: str, name: str) -> Cost:
    """The same on one backbone; on tensors without values, which takes no time, where the part does not need values.

    Raises:
        IncompatiblePartsError: the part does not fit.
    """
    try:
        with torch.device("meta"):
            built, outputs, operations = run_counted(spec, kind, name)
    except NotImplementedError:  # how many values there are depends on the values, as in Faster R-CNN's proposals
        built, outputs, operations = run_counted(spec, kind, name)
    inputs = [f"{level.channels} at stride {level.stride}" for level in spec.levels]
    if kind == "decoder" and built.uses_embedding:
        inputs = [f"embedding of {spec.embedding}"]
    elif kind == "decoder" and built.in_levels is not None:
        inputs = [inputs[index] for index in built.in_levels]
    parameters = sum(value.numel() for value in built.parameters())
    return Cost(backbone, parameters, operations, inputs, describe_outputs(kind, built, outputs))


def run_counted(spec: FeatureSpec, kind: str, name: str) -> tuple[Any, Any, int]:
    """A part with its defaults, its outputs for one canvas, and the operations that these took."""
    part = find(kind, name)
    labels = () if kind != "decoder" else (fake_labels(part.task, CLASSES),)
    built = part(spec, *labels).eval().requires_grad_(False)
    incoming = features(spec)
    reads_boxes = kind == "decoder" and built.needs == "boxes"
    boxes = (fake_proposals(labels[0], incoming.frame.canvas, 1),) if reads_boxes else ()
    with FlopCounterMode(display=False) as counter:
        outputs = built(incoming, *boxes)
    return built, outputs, counter.get_total_flops()


def describe_outputs(kind: str, built: Any, out: Any) -> list[str]:
    if kind != "decoder":
        return [f"{level.channels} at stride {level.stride}" for level in built.out_spec.levels]
    fields = [(name, value) for name, value in zip(out._fields, out, strict=True) if isinstance(value, torch.Tensor)]
    return [f"{name} {'x'.join(map(str, value.shape[1:])) or 'of the image'}" for name, value in fields]


def diagram(name: str, shown: Cost) -> list[str]:
    """The part between what goes in and what comes out, as Mermaid."""
    lines = ["```mermaid", "flowchart LR", f'  part(["{name}"])']
    lines += [f'  in{number}["{text}"] --> part' for number, text in enumerate(shown.inputs)]
    lines += [f'  part --> out{number}["{text}"]' for number, text in enumerate(shown.outputs)]
    return [*lines, "```", ""]


def page(part: Part) -> str:
    shown = cost(part.kind, part.name)
    size = f"{CANVAS[0]}x{CANVAS[1]}"
    lines = [f"# {part.kind} `{part.name}`" + (f" ({part.task})" if part.task else ""), "", part.summary, ""]
    lines += diagram(part.name, shown)
    if part.paper:
        lines += [f"Source: {part.paper}.", ""]
    if part.name in GOES_WITH[part.kind]:
        lines += [f"Goes well with: {GOES_WITH[part.kind][part.name]}", ""]
    classes = f", {CLASSES} classes" if part.kind == "decoder" else ""
    lines += [
        f"Cost on {shown.backbone} at {size}{classes}: {shown.parameters / 1e6:.2f} M parameters, "
        f"{shown.operations / 2e9:.2f} G multiply-adds (convolutions, matrix products and attention).",
        "",
    ]
    lines += options(part)
    lines.append("[All parts](../parts.md)")
    return "\n".join(lines) + "\n"


def section(part: Part) -> list[str]:
    link = f"parts/{part.kind}_{part.name}.md"
    title = f"### [`{part.name}`]({link})" + (f" ({part.task})" if part.task else "")
    return [title, "", part.summary, ""]


def catalog() -> str:
    lines = ["# Parts", "", "Made from the code by `make docs`; do not edit.", ""]
    for kind in KINDS:
        lines += [f"## {kind.capitalize()}s", ""]
        for name in names(kind):
            lines += section(describe(kind, name))
    lines += ["## Backbones", "", "Any timm model by name. Options:", ""]
    lines += options(describe_class("backbone", "any timm model", TimmBackbone))
    for name, kind_class in BACKBONES.items():
        part = describe_class("backbone", name, kind_class)
        lines += [f"### `{name}`", "", part.summary, "", *options(part)]
    lines += ["### Families of timm", "", "| family | models | maps |", "|---|---|---|"]
    words = {
        "any": "aligned at every size",
        "multiple": "aligned; padded to a multiple of the coarsest stride",
        "sized": "aligned; built for one size, which `image_size` chooses",
        "native": "aligned at the size of its weights only",
    }
    for family in families():
        told = f"classification only: {family.refusal}" if family.refusal else words[family.kind]
        lines.append(f"| {family.name} | {family.models} | {told} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """All pages of the catalog, by path below ``docs/``."""
    parts = {f"parts/{kind}_{name}.md": page(describe(kind, name)) for kind in KINDS for name in names(kind)}
    return {"parts.md": catalog(), **parts}
