"""A matrix of counts as a heat map in SVG, and its most frequent pairs of different names as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np

from vertebra.report.html_page import details, table
from vertebra.report.svg_axes import WIDTH, cut, svg, text_svg
from vertebra.tasks.diagnosis import Matrix

MAX_NAMES = 24
MAX_PAIRS = 10
LEFT, MAX_CELL = 120, 44
MAX_LETTERS = 12  # of the names of columns
MIN_TEXT_CELL = 24  # cells from this side on show their count


def heat_map(matrix: Matrix) -> str:
    """A matrix as HTML: cells colored by their share of their row. A large matrix is limited to the names in its most frequent
    pairs of different names."""
    counts = np.nan_to_num(np.asarray(matrix.counts, dtype=float))
    if not counts.size or not counts.any():
        return ""
    pairs = _confused(matrix, counts)
    shown, note = _limited(matrix, counts, pairs)
    text = f"{matrix.text} {note}".strip()
    paragraph = f"<p>{escape(text)}</p>" if text else ""
    listed = table(
        [matrix.row_label, matrix.column_label, "count", "% of its row"],
        [
            (matrix.rows[row], matrix.columns[column], _whole(counts[row, column]), round(100 * share))
            for row, column, share in pairs
        ],
        label=f"{matrix.title}: most frequent confusions",
    )
    return (
        f'<figure class="chart"><h4>{escape(matrix.title)}</h4>{paragraph}{_drawing(shown, counts.sum(axis=1), matrix)}'
        f"{details('Most frequent pairs of different names', listed)}</figure>"
    )


def _confused(matrix: Matrix, counts: np.ndarray) -> list[tuple[int, int, float]]:
    """The most frequent pairs of different names: row, column and the pair's share of its row."""
    different = np.array(matrix.rows, dtype=object)[:, None] != np.array(matrix.columns, dtype=object)[None]
    order = np.argsort(-np.where(different, counts, 0), axis=None, kind="stable")[:MAX_PAIRS]
    sums = counts.sum(axis=1)
    pairs = [divmod(int(position), len(matrix.columns)) for position in order]
    return [
        (row, column, float(counts[row, column] / sums[row]))
        for row, column in pairs
        if different[row, column] and counts[row, column] > 0
    ]


def _limited(matrix: Matrix, counts: np.ndarray, pairs: Sequence[tuple[int, int, float]]) -> tuple[Matrix, str]:
    """The part of a matrix that is drawn, and a note if something is left out."""
    if max(counts.shape) <= MAX_NAMES:
        return replace(matrix, counts=counts), ""
    drawn_names: dict[str, None] = {}
    for row, column, _ in pairs:
        drawn_names |= {matrix.rows[row]: None, matrix.columns[column]: None}
    for row in np.argsort(-counts.sum(axis=1), kind="stable").tolist():
        drawn_names.setdefault(matrix.rows[row])
    names = list(drawn_names)[:MAX_NAMES]
    rows = [number for number, name in enumerate(matrix.rows) if name in names]
    columns = [number for number, name in enumerate(matrix.columns) if name in names]
    part = replace(
        matrix,
        rows=[matrix.rows[row] for row in rows],
        columns=[matrix.columns[column] for column in columns],
        counts=counts[np.ix_(rows, columns)],
    )
    return part, f"Only the {len(names)} names with the most confusions are drawn, of {max(counts.shape)}."


def _drawing(matrix: Matrix, sums: np.ndarray, whole: Matrix) -> str:
    by_name = dict(zip(whole.rows, sums.tolist(), strict=True))
    top = 40 + 5.5 * min(MAX_LETTERS, max(map(len, matrix.columns)))
    cell = min(MAX_CELL, (WIDTH - LEFT - 8) / len(matrix.columns))
    pieces = [text_svg(4, top - 8, f"{matrix.row_label} ↓", "start", "dim")]
    pieces.append(text_svg(LEFT, 12, f"{matrix.column_label} →", "start", "dim"))
    for column, name in enumerate(matrix.columns):
        pieces.append(text_svg(LEFT + (column + 0.6) * cell, top - 6, cut(name, MAX_LETTERS), "start", turn=-55))
    for row, name in enumerate(matrix.rows):
        y = top + row * cell
        pieces.append(text_svg(LEFT - 6, y + cell / 2 + 4, cut(name, 17), "end"))
        total = by_name[name]
        for column, other in enumerate(matrix.columns):
            count = float(matrix.counts[row, column])
            share = count / total if total else 0.0
            title = f"{matrix.row_label} {name}, {matrix.column_label} {other}: {_text(count)} of {_text(total)} ({share:.1%})"
            pieces.append(_cell(LEFT + column * cell, y, cell, count, share, title))
    label = f"{matrix.title}: {matrix.row_label} in rows, {matrix.column_label} in columns"
    return svg(top + len(matrix.rows) * cell + 6, label, "".join(pieces))


def _cell(x: float, y: float, side: float, count: float, share: float, title: str) -> str:
    kind = f'class="heat" fill-opacity="{max(share, 0.03):.2f}"' if count else 'class="empty"'
    drawn = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{side - 1:.1f}" height="{side - 1:.1f}" {kind}>'
        f"<title>{escape(title)}</title></rect>"
    )
    text = _text(count)
    if not count or side < MIN_TEXT_CELL or len(text) * 7 > side:
        return drawn
    number = text_svg(x + (side - 1) / 2, y + side / 2 + 4, text, "middle", "over" if share > 0.6 else "")
    return drawn + number.replace("<text", '<text pointer-events="none"')


def _whole(count: float) -> float:
    return int(count) if count == int(count) else count


def _text(count: float) -> str:
    """A count in few letters."""
    if count >= 1e6:
        return f"{count / 1e6:.3g}M"
    if count >= 1e4:
        return f"{count / 1e3:.3g}k"
    return f"{count:.4g}"
