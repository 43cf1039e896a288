"""Writes ``docs/parts.md`` from the code: python scripts/write_parts_catalogue.py [TARGET]."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from vertebra.backbones import TimmBackbone, families
from vertebra.parts import Part, describe, describe_class, names

TARGET = Path(__file__).parents[1] / "docs" / "parts.md"


def default(value: object) -> str:
    if value is ...:
        return "must be given"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return f"`{json.dumps(value)}`"


def escaped(text: str) -> str:
    """A bar ends a table's cell, also inside code."""
    return text.replace("|", "\\|")


def section(part: Part) -> list[str]:
    lines = [f"### `{part.name}`" + (f" ({part.task})" if part.task else ""), "", part.summary, ""]
    if part.paper:
        lines += [f"Source: {part.paper}.", ""]
    if part.options:
        lines += ["| option | type | default |", "|---|---|---|"]
        lines += [f"| `{o.name}` | `{escaped(o.type)}` | {default(o.default)} |" for o in part.options]
        lines.append("")
    return lines


def catalogue() -> str:
    lines = ["# Parts", "", "Made from the code by `make docs`; do not edit.", ""]
    for kind in ("neck", "encoder", "decoder"):
        lines += [f"## {kind.capitalize()}s", ""]
        for name in names(kind):
            lines += section(describe(kind, name))
    lines += ["## Backbones", "", "Any timm model by name. Options:", ""]
    lines += section(describe_class("backbone", "any timm model", TimmBackbone))[2:]
    lines += ["| family | models | maps |", "|---|---|---|"]
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


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(catalogue(), encoding="utf-8")
