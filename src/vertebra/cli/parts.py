"""``vertebra parts``: the catalog of parts, read from the code."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import typer

from vertebra.cli.printing import print_json

KINDS = ("backbone", "neck", "encoder", "decoder")


def parts(
    what: str | None = typer.Argument(None, help="A kind (backbone, neck, encoder, decoder) or the name of a part."),
    matrix: bool = typer.Option(
        False, "--matrix", help="Build every combination; show which ones work, and why others do not."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the parts, their options and their papers."""
    if matrix:
        _matrix(as_json)
        return
    if what is None:
        catalog = {kind: _list(kind) for kind in KINDS}
        _print(catalog, as_json, _kinds_text)
    elif what.rstrip("s") in KINDS:
        kind = what.rstrip("s")
        _print({kind: _list(kind)}, as_json, _kinds_text)
    else:
        _print(_named(what), as_json, lambda parts: "\n\n".join(map(_one_text, parts)))


def _print(value: Any, as_json: bool, text: Any) -> None:
    if as_json:
        print_json(value, indent=2, default=str)
    else:
        typer.echo(text(value))


def _list(kind: str) -> list[dict[str, Any]]:
    if kind == "backbone":
        from vertebra.backbones import BACKBONES, families
        from vertebra.parts import describe_class

        entries = [
            {"name": name, "task": None, "summary": describe_class(kind, name, backbone).summary}
            for name, backbone in BACKBONES.items()
        ]
        return entries + [
            {
                "family": family.name,
                "models": family.models,
                "example": family.example,
                "maps": family.refusal is None,
                "reason": family.refusal or "",
            }
            for family in families()
        ]
    from vertebra.parts import describe, names

    descriptions = [describe(kind, name) for name in names(kind)]
    return [
        {"name": part.name, "task": part.task, "summary": part.summary, "paper": part.paper} for part in descriptions
    ]


def _named(name: str) -> list[dict[str, Any]]:
    """All parts of this name; a neck and a decoder may have the same name.

    Raises:
        UnknownName: there is none.
    """
    from vertebra.errors import UnknownName
    from vertebra.parts import describe, list_backbones, names

    names_by_kind = {kind: names(kind) for kind in KINDS[1:]}
    matches = [_as_dict(describe(kind, name)) for kind, kind_names in names_by_kind.items() if name in kind_names]
    backbones = list_backbones()
    if name in backbones:
        matches.append(_backbone(name))
    if not matches:
        raise UnknownName(
            "part",
            name,
            [*(known for kind_names in names_by_kind.values() for known in kind_names), *KINDS, *backbones],
        )
    return matches


def _as_dict(part: Any) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind,
        "task": part.task,
        "summary": part.summary,
        "paper": part.paper,
        "options": [
            {
                "name": option.name,
                "type": option.type,
                "default": _default(option.default),
                "meaning": option.meaning.replace("``", ""),
            }
            for option in part.options
        ],
    }


def _default(value: Any) -> Any:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return "(must be given)" if value is ... else value


def _backbone(name: str) -> dict[str, Any]:
    from vertebra.backbones import BACKBONES, TimmBackbone
    from vertebra.parts import describe_class

    part: Any = BACKBONES.get(name, TimmBackbone)
    backbone = part(name)
    description = _as_dict(describe_class("backbone", name, part))
    return {
        **description,
        "levels": [{"channels": level.channels, "stride": level.stride} for level in backbone.out_spec.levels],
        "embedding": backbone.out_spec.embedding,
        "size_multiple": backbone.size_multiple,
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
    }


def _kinds_text(catalog: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for kind, entries in catalog.items():
        lines.append(
            f"{kind}s" + (" (those of timm by family; any model name of it works)" if kind == "backbone" else "")
        )
        for entry in entries:
            if "family" in entry:
                note = "" if entry["maps"] else f"   classification only: {entry['reason']}"
                lines.append(f"  {entry['family']:<28} {entry['models']:>4} models, such as {entry['example']}{note}")
            else:
                task = f"[{entry['task']}] " if entry["task"] else ""
                lines.append(f"  {entry['name']:<16} {task}{entry['summary'].replace('``', '')}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _one_text(part: dict[str, Any]) -> str:
    lines = [f"{part['kind']} {part['name']}: {part['summary']}"]
    if part["task"]:
        lines.append(f"task: {part['task']}")
    if part["paper"]:
        lines.append(f"paper: {part['paper']}")
    if "levels" in part:
        levels = ", ".join(f"{level['channels']} channels at stride {level['stride']}" for level in part["levels"])
        lines.append(
            f"levels: {levels or 'none'}; embedding: {part['embedding']}; {part['parameters'] / 1e6:.1f} M parameters"
        )
    lines.append("options:")
    for option in part["options"]:
        lines.append(f"  {option['name']}: {option['type']} = {json.dumps(option['default'], default=str)}")
        lines += textwrap.wrap(option["meaning"], 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _matrix(as_json: bool) -> None:
    from vertebra.testing.matrix import fit_table

    table = fit_table()
    if as_json:
        print_json([row._asdict() for row in table], indent=2)
        return
    for row in table:
        parts = " -> ".join(name for name in (row.backbone, row.neck, row.encoder, row.decoder) if name)
        typer.echo(f"{'ok  ' if not row.error else 'no  '}{parts}{'   ' + row.error if row.error else ''}")
    fit = sum(not row.error for row in table)
    typer.echo(f"{fit} of {len(table)} combinations fit; the others list what they need.")
