"""The summary of an exported file that ``vertebra describe`` prints; without torch and without a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.runtimes import find_format, read_metadata
from vertebra.runtimes.model_files.metadata import CLASS_MAP, LARGEST, FileInfo, from_json

MAX_CLASSES = 12  # that are printed
KEPT = ("producer", "origin", "image", "inputs", "outputs")


def describe_file(path: str | Path) -> dict[str, Any]:
    """The summary, JSON-ready.

    Raises:
        WeightsError: it is missing, damaged, or not one that Vertebra exported.
    """
    path = Path(path)
    info = from_json(read_metadata(path), str(path))
    known = find_format(path)
    assert known is not None  # or its metadata could not have been read
    return {
        "file": path.name,
        "kind": known.title,
        "bytes": sum(file.stat().st_size for file in known.files(path)),
        "precision": info.report.get("precision"),
        **{key: info.details[key] for key in KEPT if key in info.details},
        "preprocess": info.info.resize_spec.to_dict(),
        "branches": {name: _branch(info, name) for name in info.info.branches},
        "report": dict(info.report),
        "config": info.config,
    }


def _branch(info: FileInfo, name: str) -> dict[str, Any]:
    task, labels = info.info.branches[name]
    decoding = info.details.get("decoding", {}).get(name, {})
    promise = {"promise": dict(info.info.promises[name])} if name in info.info.promises else {}
    return {"task": task, "classes": list(labels.classes), "outputs": list(info.outputs[name]), **decoding, **promise}


def summary_text(summary: Mapping[str, Any]) -> str:
    """The summary as text."""
    producer = summary.get("producer") or {}
    made = f", by {producer['name']} {producer['version']}" if producer else ""
    resize_spec = summary["preprocess"]
    scale = f", scale {resize_spec['scale'][0]:g} to {resize_spec['scale'][1]:g}" if "scale" in resize_spec else ""
    lines = [
        f"{summary['file']}: {summary['kind']}, {summary['precision']}, {summary['bytes'] / 1e6:.1f} MB{made}",
        f"canvas {resize_spec['size'][0]}x{resize_spec['size'][1]}, {resize_spec['mode']}{scale}",
    ]
    for section in ("inputs", "outputs"):
        for name, entry in summary.get(section, {}).items():
            lines.append(f"{section[:-1]:<6}  {name}: {entry['type']} ({', '.join(map(str, entry['shape']))})")
    lines += [_branch_line(name, entry) for name, entry in summary["branches"].items()]
    if "origin" in summary:
        lines.append("origin  " + ", ".join(f"{key} {value}" for key, value in summary["origin"].items()))
    lines += _compared(summary["report"])
    return "\n".join(lines)


def _branch_line(name: str, entry: Mapping[str, Any]) -> str:
    classes = entry["classes"]
    rest = f" and {len(classes) - MAX_CLASSES} more" if len(classes) > MAX_CLASSES else ""
    rule = ", the largest" if entry.get("rule") == LARGEST else ""
    rule = f", scores from {entry['threshold']:g} on" if "threshold" in entry else rule
    if stored := entry.get("thresholds"):
        rule += f", with thresholds by class from {min(stored.values()):g} to {max(stored.values()):g}"
    if promise := entry.get("promise"):
        rule += f" (missed: at most {promise.get('miss')}, with a probability of {promise.get('confidence')})"
    kind = ", the class of each pixel" if entry["outputs"] == [CLASS_MAP] else ""
    return (
        f"branch  {name}: {entry['task']}{rule}{kind}; {len(classes)} classes: {', '.join(classes[:MAX_CLASSES])}{rest}"
    )


def _compared(report: Mapping[str, Any]) -> list[str]:
    """The comparison with the model at export."""
    lines = []
    if report.get("differences"):
        lines.append(
            f"compared with PyTorch at export: within {max(report['differences'].values()):.1e} of the largest value"
        )
    if report.get("agreement"):
        lines.append(f"compared with PyTorch at export: agreement {min(report['agreement'].values()):.3f}")
    for name, (before, after) in report.get("metrics", {}).items():
        lines.append(f"{name}: {before:.4f} in PyTorch, {after:.4f} with the file")
    return lines
