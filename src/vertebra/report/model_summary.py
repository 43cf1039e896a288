"""The summary of a model: its parts and their connections, as text and as a picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from vertebra.model import Branch, VisionModel


@dataclass(frozen=True)
class Block:
    """One part.

    Attributes:
        kind: "backbone", "neck", "encoder", "decoder" or "activation".
        name: its name in the catalog.
        details: its output levels, as text.
        parameters: number of its parameters.
    """

    kind: str
    name: str
    details: tuple[str, ...] = ()
    parameters: int = 0


@dataclass(frozen=True)
class BranchSummary:
    """One branch: its parts from the features to its output."""

    name: str
    task: str
    classes: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class ModelSummary:
    """A whole model.

    Attributes:
        canvas: (height, width) in pixels, and the resize mode.
        backbone: the backbone.
        shared: parts shared by all branches.
        branches: the branches.
        origin: the source of its initial weights, see `vertebra.model.VisionModel`.
        provenance: how it was made, from its file.
    """

    canvas: tuple[int, int, str]
    backbone: Block
    shared: tuple[Block, ...]
    branches: tuple[BranchSummary, ...]
    origin: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of parameters of all parts."""
        in_branches = sum(block.parameters for branch in self.branches for block in branch.blocks)
        return self.backbone.parameters + sum(block.parameters for block in self.shared) + in_branches

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "parameters": self.parameters}


def summarize_model(model: VisionModel) -> ModelSummary:
    """The summary of a model."""
    config: dict[str, Any] = model.config or {}
    shared_names = config.get("shared", {})
    backbone = model.backbone
    details = [
        *_levels(backbone),
        *([f"embedding of {backbone.out_spec.embedding}"] if backbone.out_spec.embedding else []),
    ]
    kinds = [kind for kind in ("neck", "encoder") if shared_names.get(kind)]
    shared = tuple(
        _block(kind, shared_names[kind]["name"], part) for kind, part in zip(kinds, model.shared, strict=False)
    )
    branches = tuple(_branch(key, model.branch(key), config.get("branches", {}).get(key, {})) for key in model.branches)
    canvas = (*model.resize_spec.size, model.resize_spec.mode)
    block = Block("backbone", backbone.name, tuple(details), _count(backbone))
    return ModelSummary(canvas, block, shared, branches, dict(model.origin), dict(model.provenance))


def _branch(name: str, branch: Branch, config: dict[str, Any]) -> BranchSummary:
    blocks = []
    for kind in ("neck", "encoder", "decoder"):
        part = getattr(branch, kind)
        if part is not None:
            known = (config.get(kind) or {}).get("name", type(part).__name__)
            blocks.append(_block(kind, known, part))
    one_class = getattr(branch.labels, "multilabel", True) is False
    blocks.append(Block("activation", "softmax" if one_class else "sigmoid"))
    return BranchSummary(name, branch.task, branch.labels.classes, tuple(blocks))


def _block(kind: str, name: str, part: Any) -> Block:
    return Block(kind, name, tuple(_levels(part)) if kind != "decoder" else (), _count(part))


def _levels(part: Any) -> list[str]:
    return [f"{level.channels} @ stride {level.stride}" for level in part.out_spec.levels]


def _count(part: Any) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def millions(count: int) -> str:
    """A number of parameters as text."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)


def model_summary_text(anatomy: ModelSummary) -> str:
    """The summary as a text tree."""
    height, width, mode = anatomy.canvas
    lines = [
        f"image -> canvas {height} x {width} ({mode})",
        f"└─ backbone {anatomy.backbone.name}   {millions(anatomy.backbone.parameters)} parameters",
    ]
    lines += [f"     {detail}" for detail in anatomy.backbone.details]
    lines += [f"   └─ shared {block.kind} {block.name}   {millions(block.parameters)}" for block in anatomy.shared]
    for number, branch in enumerate(anatomy.branches):
        last = number + 1 == len(anatomy.branches)
        classes = ", ".join(branch.classes[:6]) + (" …" if len(branch.classes) > 6 else "")
        lines.append(f"   {'└' if last else '├'}─ branch {branch.name} ({branch.task}): {classes}")
        edge = " " if last else "│"
        for block in branch.blocks:
            amount = f"   {millions(block.parameters)}" if block.parameters else ""
            lines.append(
                f"   {edge}    {block.kind} {block.name}{amount}"
                + (f"   [{'; '.join(block.details)}]" if block.details else "")
            )
    lines.append(f"{millions(anatomy.parameters)} parameters in all")
    return "\n".join([*lines, *_history(anatomy)])


def _history(anatomy: ModelSummary) -> list[str]:
    """The source of the weights, and how the model was made, if its file has them."""
    origin, lines = anatomy.origin, []
    if origin:
        file, source = origin.get("weights"), origin.get("source")
        described = f"{source} (file {file})" if source and file else source or file
        license = origin.get("license") or "not stated"
        lines.append(
            f"weights: from {described}; license{' of the published ones' if source and file else ''}: {license}"
        )
    for name, value in anatomy.provenance.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"{name}: {text if len(text) <= 200 else text[:199] + '…'}")
    return lines


WIDTH, HEIGHT, GAP, LEFT = 168, 58, 34, 20
COLORS = {"image": "#e8e8e8", "backbone": "#bcd9f2", "neck": "#c9e7c4", "encoder": "#f6e2b0", "decoder": "#f3c6b4",
           "activation": "#dccdec"}  # fmt: skip


def model_summary_svg(anatomy: ModelSummary) -> str:
    """The summary as a picture: the shared parts at the left, one row for each branch."""
    rows = len(anatomy.branches)
    spine = [
        Block("image", "image", (f"{anatomy.canvas[0]} x {anatomy.canvas[1]}",)),
        anatomy.backbone,
        *anatomy.shared,
    ]
    longest = max(len(branch.blocks) for branch in anatomy.branches)
    width = LEFT * 2 + (len(spine) + longest + 1) * (WIDTH + GAP)
    height = rows * (HEIGHT + GAP) + 2
    middle = (height - HEIGHT) / 2
    pieces = []
    for number, block in enumerate(spine):
        x = LEFT + number * (WIDTH + GAP)
        pieces.append(_box(x, middle, block))
        if number:
            pieces.append(_line(x - GAP, middle + HEIGHT / 2, x, middle + HEIGHT / 2))
    fork = LEFT + len(spine) * (WIDTH + GAP)
    for row, branch in enumerate(anatomy.branches):
        y = (height - rows * (HEIGHT + GAP) + GAP) / 2 + row * (HEIGHT + GAP)
        pieces.append(_line(fork - GAP, middle + HEIGHT / 2, fork, y + HEIGHT / 2))
        for number, block in enumerate(branch.blocks):
            x = fork + number * (WIDTH + GAP)
            pieces.append(_box(x, y, block))
            pieces.append(_line(x + WIDTH, y + HEIGHT / 2, x + WIDTH + GAP, y + HEIGHT / 2))
        x = fork + len(branch.blocks) * (WIDTH + GAP)
        pieces.append(_text(x + 4, y + 24, branch.name, 15, "bold") + _text(x + 4, y + 42, branch.task, 12))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'role="img" aria-label="summary of the model">{"".join(pieces)}</svg>'
    )


def _box(x: float, y: float, block: Block) -> str:
    amount = f" · {millions(block.parameters)}" if block.parameters else ""
    detail = block.details[-1] if block.kind in ("neck", "encoder") and block.details else (block.details or ("",))[0]
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{COLORS[block.kind]}" stroke="#666"/>'
        + _text(x + 10, y + 20, block.name, 13, "bold", "#222")
        + _text(x + 10, y + 36, block.kind + amount, 11, fill="#333")
        + _text(x + 10, y + 50, detail, 10, fill="#555")
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1} {y1} C{(x1 + x2) / 2} {y1} {(x1 + x2) / 2} {y2} {x2} {y2}" fill="none" stroke="#888" stroke-width="2"/>'


def _text(x: float, y: float, text: str, size: int, weight: str = "normal", fill: str = "currentColor") -> str:
    shown = text if len(text) <= 24 else text[:23] + "…"
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(shown)}</text>'
