"""A self-contained HTML page in sections of text, tables, charts and pictures."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from vertebra.files import replacing
from vertebra.report.page_style import SCRIPT, STYLE
from vertebra.tasks.diagnosis import Cell

LONG_CELL = 30  # letters of a cell that is made wide
MAX_ROWS = 20  # rows of a table that are shown at once


@dataclass(frozen=True)
class Picture:
    """A picture with a caption.

    Attributes:
        image: the picture, or several beside each other, by what each shows.
        caption: what it shows.
        link: an address that the caption leads to, such as that of the image's file; empty for none.
        text: a second line of the caption.
    """

    image: Image.Image | Mapping[str, Image.Image]
    caption: str
    link: str = ""
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: its heading.
        parts: HTML, as returned by `paragraph`, `table`, `gallery` and the charts.
    """

    heading: str
    parts: Sequence[str]


def write_page(path: Path, title: str, intro: str, sections: Sequence[Section]) -> Path:
    """Writes a page with a list of its sections at its top; sections without parts are left out."""
    shown = [section for section in sections if any(section.parts)]
    names = {section.heading: _anchor(section.heading, number) for number, section in enumerate(shown)}
    links = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for heading, name in names.items())
    body = (
        f'<nav aria-label="sections"><ul>{links}</ul></nav><main id="main">'
        + "".join(
            f'<section aria-label="{escape(section.heading)}"><h2 id="{names[section.heading]}">{escape(section.heading)}</h2>'
            f"{''.join(section.parts)}</section>"
            for section in shown
        )
        + "</main>"
    )
    return write_html(path, title, intro, body)


def write_html(path: Path, title: str, intro: str, body: str, style: str = "", script: str = "") -> Path:
    """Writes a page with a heading and a button for its colors.

    Args:
        body: HTML.
        style, script: added to those of all pages.
    """
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>"
        f'<body><a class="skip" href="#main">Skip to the content</a><header><div><h1>{escape(title)}</h1>'
        f"<p>{escape(intro)}</p></div>"
        f'<button id="theme" type="button">Light or dark</button></header>{body}<script>{SCRIPT}{script}</script></body></html>\n'
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _anchor(heading: str, number: int) -> str:
    return f"s{number}-" + re.sub(r"\W+", "-", heading.lower()).strip("-")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; empty for no text.

    Args:
        kind: its class in the style, such as "note".
    """
    marked = f' class="{kind}"' if kind else ""
    return f"<p{marked}>{escape(text)}</p>" if text else ""


def heading(text: str) -> str:
    """A heading inside of a section."""
    return f"<h3>{escape(text)}</h3>"


def bullets(lines: Sequence[str], kind: str = "") -> str:
    """A list of sentences; empty for none."""
    marked = f' class="{kind}"' if kind else ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul{marked}>{items}</ul>" if lines else ""


def facts(values: Mapping[str, str]) -> str:
    """Names with their values."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items() if value)
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def details(summary: str, body: str) -> str:
    """HTML that is shown when its summary is opened; empty for none."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>" if body else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, label: str, max_rows: int = MAX_ROWS) -> str:
    """A table that can be sorted by each of its columns; empty without rows.

    Args:
        columns: their names.
        rows: cells; numbers are shown with four digits, and None as an empty cell.
        label: what the table shows, for screen readers.
        max_rows: further rows are shown on request.
    """
    if not rows:
        return ""
    shown = _table(columns, rows[:max_rows], label)
    if len(rows) <= max_rows:
        return shown
    return shown + details(f"All {len(rows)} rows", _table(columns, rows, label))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], label: str) -> str:
    numeric = [
        any(_is_number(row[column]) for row in rows)
        and all(row[column] is None or _is_number(row[column]) for row in rows)
        for column in range(len(columns))
    ]
    head = "".join(
        f'<th scope="col"{" data-number=1" if number else ""}><button type="button">{escape(name)}</button></th>'
        for name, number in zip(columns, numeric, strict=True)
    )
    lines = "".join(
        "<tr>" + "".join(_cell(cell, first=not column) for column, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide" role="region" aria-label="{escape(label)}" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _cell(cell: Cell, first: bool) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        value = f"{cell:.6g}" if math.isfinite(cell) else ""
        return f'<td class="number" data-value="{value}">{number_text(cell)}</td>'
    text = str(cell)
    if text.strip("█▏") == "" and text:
        return f'<td class="bar" data-value="{len(text)}">{text}</td>'
    if first:
        return f'<th scope="row">{escape(text)}</th>'
    return f'<td class="long">{escape(text)}</td>' if len(text) > LONG_CELL else f"<td>{escape(text)}</td>"


def number_text(value: float) -> str:
    """A number with four digits, and a whole number in full."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1e5 else f"{value:.3g}"


def gallery(pictures: Sequence[Picture], *, small: bool = False) -> str:
    """Pictures with their captions; empty for none.

    Args:
        small: more of them beside each other.
    """
    kind = (" small" if small else "") + (" sides" if any(isinstance(each.image, Mapping) for each in pictures) else "")
    return f'<div class="gallery{kind}">{"".join(_figure(each) for each in pictures)}</div>' if pictures else ""


def _figure(picture: Picture) -> str:
    caption = escape(picture.caption)
    if isinstance(picture.image, Mapping):
        sides = "".join(
            f'<div><img loading="lazy" alt="{escape(name)}: {caption}" src="{jpeg_data(image)}"><span>{escape(name)}</span></div>'
            for name, image in picture.image.items()
        )
        shown = f'<div class="side">{sides}</div>'
    else:
        shown = f'<img loading="lazy" alt="{caption}" src="{jpeg_data(picture.image)}">'
    if picture.link:
        caption = f'<a href="{escape(picture.link)}">{caption}</a>'
    text = f"<p>{escape(picture.text)}</p>" if picture.text else ""
    return f"<figure>{shown}<figcaption>{caption}{text}</figcaption></figure>"


def jpeg_data(image: Image.Image, quality: int = 80) -> str:
    """An image as the address of an ``img`` element that needs no file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def drawing(svg: str) -> str:
    """A wide SVG drawing, which scrolls on a small screen."""
    return f'<div class="drawing" tabindex="0" role="region" aria-label="drawing">{svg}</div>' if svg else ""


def file_link(path: Path) -> str:
    """The address of a file; empty for a path that is none on this machine."""
    return path.absolute().as_uri() if path.exists() else ""
