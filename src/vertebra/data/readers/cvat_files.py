"""The files of CVAT: labels, images with their shapes, and tracks."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from vertebra.annotations.table import Category
from vertebra.annotations.values import whole_number
from vertebra.data.readers.cvat_shapes import KINDS, CvatShape, parse_shape
from vertebra.data.readers.tool_objects import size_of
from vertebra.data.readers.xml_files import xml_parts

_NODE = re.compile(r"<circle\b[^>]*>")
_EDGE = re.compile(r"<line\b[^>]*>")


@dataclass
class CvatTrack:
    label: str
    subset: str
    task: str
    shapes: list[CvatShape | None] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass
class CvatImage:
    name: str
    id: str
    size: tuple[int, int]
    subset: str
    shapes: list[tuple[str, CvatShape | None]]
    tags: list[str]
    unknown: list[str] = field(default_factory=list)


@dataclass
class CvatFile:
    """One file.

    Attributes:
        categories: the labels, with the points of skeletons.
        frames: the numbers of a task's frames; empty if the file does not have them.
        size: (height, width) of a video.
        video: its file.
    """

    categories: list[Category] = field(default_factory=list)
    frames: range = range(0)
    size: tuple[int, int] = (0, 0)
    video: str = ""
    images: list[CvatImage] = field(default_factory=list)
    tracks: list[CvatTrack] = field(default_factory=list)


def is_cvat(content: bytes) -> bool:
    text = content.replace(b"\x00", b"")  # of UTF-16
    return (
        re.search(rb"<annotations[\s>]", text) is not None
        and re.search(rb"<(meta|image|track)[\s/>]", text) is not None
    )


def read_cvat(file: Path) -> CvatFile:
    content = CvatFile()
    for part in xml_parts(file):
        if part.tag == "meta":
            _read_meta(part, content)
        elif part.tag == "image":
            shapes = [(one.get("label", ""), parse_shape(one)) for one in part if one.tag in KINDS]
            tags = [one.get("label", "") for one in part if one.tag == "tag"]
            size = size_of(part.get("height"), part.get("width"))
            image = CvatImage(part.get("name", ""), part.get("id", ""), size, part.get("subset", ""), shapes, tags)
            image.unknown = [one.tag for one in part if one.tag not in (*KINDS, "tag")]
            content.images.append(image)
        elif part.tag == "track":
            track = CvatTrack(part.get("label", ""), part.get("subset", ""), part.get("task_id", ""))
            track.shapes = [parse_shape(one) for one in part if one.tag in KINDS]
            track.unknown = [one.tag for one in part if one.tag not in KINDS]
            content.tracks.append(track)
    return content


def count_of(frames: range) -> int:
    """How many frames there are, of a range that may be longer than `len` allows."""
    return max(0, -(-(frames.stop - frames.start) // frames.step))


def _read_meta(meta: ElementTree.Element, content: CvatFile) -> None:
    """The labels, and the frames of a task."""
    labels = [label for labels in meta.iter("labels") for label in labels.findall("label")]
    points: dict[str, list[str]] = {}
    for label in labels:
        if label.findtext("parent"):
            points.setdefault(label.findtext("parent", ""), []).append(label.findtext("name", ""))
    for label in labels:
        name = label.findtext("name", "")
        if name and not label.findtext("parent"):
            content.categories.append(_category(name, points.get(name, []), label.findtext("svg", "")))
    first, last = (
        whole_number(next((one.text for one in meta.iter(key)), None)) for key in ("start_frame", "stop_frame")
    )
    step = re.search(r"step=(\d{1,9})", next((one.text or "" for one in meta.iter("frame_filter")), ""))
    if first is not None and last is not None and len(list(meta.iter("stop_frame"))) == 1:
        content.frames = range(first, last + 1, max(1, int(step[1])) if step else 1)
    original = next(meta.iter("original_size"), None)
    if original is not None:
        content.size = size_of(original.findtext("height"), original.findtext("width"))
    content.video = next((one.text or "" for one in meta.iter("source")), "")


def _category(name: str, points: list[str], picture: str) -> Category:
    """A label; of a skeleton with the lines of its picture."""
    nodes = {}
    for node in map(_svg_attributes, _NODE.findall(picture)):
        nodes[node.get("data-node-id", "")] = node.get("data-label-name", "")
    points = points or [label for label in nodes.values() if label]
    edges = []
    for line in map(_svg_attributes, _EDGE.findall(picture)):
        ends = [nodes.get(line.get(f"data-node-{end}", ""), "") for end in ("from", "to")]
        if all(end in points for end in ends):
            edges.append((points.index(ends[0]), points.index(ends[1])))
    return Category(name, points=tuple(dict.fromkeys(points)), skeleton=tuple(edges))


def _svg_attributes(element: str) -> dict[str, str]:
    return {key: html.unescape(value) for key, value in re.findall(r'([\w-]+)="([^"]*)"', element)}
