"""A self-contained HTML page about a run: pictures, tables and curves."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from vertebra.files import replacing

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
table { border-collapse: collapse } td, th { padding: .3rem .9rem; border-bottom: 1px solid var(--line); text-align: left }
td:not(:first-child) { font-variant-numeric: tabular-nums }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem }
figure { margin: 0; background: var(--soft); border-radius: 8px; overflow: hidden }
figure img { width: 100%; display: block } figcaption { padding: .4rem .7rem; font-size: .9rem }
svg { width: 100%; height: auto }
"""
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888")


@dataclass(frozen=True)
class Picture:
    """A picture with a caption."""

    image: Image.Image
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading with text, and a table, pictures or a drawing.

    Attributes:
        svg: an SVG drawing, inserted unchanged.
    """

    heading: str
    text: str = ""
    table: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = ()
    svg: str = ""


def write_page(path: Path, title: str, intro: str, sections: Sequence[Section]) -> Path:
    """Writes the page; the first row of a table is its head."""
    body = "".join(_section(section) for section in sections)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1><p>{escape(intro)}</p>{body}</body></html>\n"
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _section(section: Section) -> str:
    pieces = [f"<h2>{escape(section.heading)}</h2>"]
    if section.text:
        pieces.append(f"<p>{escape(section.text)}</p>")
    if section.table:
        pieces.append(_table(section.table))
    if section.svg:
        pieces.append(section.svg)
    if section.pictures:
        pieces.append('<div class="gallery">' + "".join(_figure(picture) for picture in section.pictures) + "</div>")
    return "".join(pieces)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><tr>{head}</tr>{body}</table>"


def jpeg_data(image: Image.Image) -> str:
    """An image as the address of an ``img`` element that needs no file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _figure(picture: Picture) -> str:
    return (
        f'<figure><img alt="{escape(picture.caption)}" src="{jpeg_data(picture.image)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def line_chart_svg(series: Mapping[str, Sequence[tuple[float, float]]], label: str) -> str:
    """Curves in one frame, with a legend.

    Args:
        series: points (x, y) by the curve's name.
        label: description of the chart, for screen readers.
    """
    points = [point for curve in series.values() for point in curve]
    if not points:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(0.0, *(y for _, y in points)), max(y for _, y in points)
    wide, tall = 640, 220

    def at(x: float, y: float) -> str:
        across = 46 + (x - low_x) / ((high_x - low_x) or 1) * (wide - 60)
        down = tall - 24 - (y - low_y) / ((high_y - low_y) or 1) * (tall - 40)
        return f"{across:.1f},{down:.1f}"

    pieces = [f'<text x="2" y="20" font-size="11" fill="currentColor">{high_y:.3g}</text>'
              f'<text x="2" y="{tall - 22}" font-size="11" fill="currentColor">{low_y:.3g}</text>'
              f'<text x="46" y="{tall - 6}" font-size="11" fill="currentColor">{low_x:g}</text>'
              f'<text x="{wide - 30}" y="{tall - 6}" font-size="11" fill="currentColor">{high_x:g}</text>'
              f'<path d="M46 16V{tall - 24}H{wide - 14}" fill="none" stroke="#8888"/>']  # fmt: skip
    for number, (name, curve) in enumerate(series.items()):
        color = CURVES[number % len(CURVES)]
        path = " ".join(at(x, y) for x, y in curve)
        pieces.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        pieces.append(
            f'<text x="{wide + 6}" y="{24 + 18 * number}" font-size="12" fill="{color}">{escape(name)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide + 240} {tall}" font-family="sans-serif" role="img" '
        f'aria-label="{escape(label)}">{"".join(pieces)}</svg>'
    )
