"""The charts and tables of a diagnosis as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from vertebra.report.bar_charts import bar_chart
from vertebra.report.heat_maps import heat_map
from vertebra.report.html_page import heading, paragraph, table
from vertebra.report.line_charts import line_chart
from vertebra.tasks.diagnosis import BarChart, Block, LineChart, Table

CARD_COLUMNS = 5  # a table of at most so many columns is a card among the charts
CARD_ROWS = 10


def blocks_html(blocks: Iterable[Block]) -> str:
    """Charts and narrow tables beside each other where there is room, and wide tables below each other, in their order."""
    pieces: list[str] = []
    cards: list[str] = []
    for block in blocks:
        if isinstance(block, Table) and len(block.columns) > CARD_COLUMNS:
            pieces += [charts_html(cards), table_html(block)]
            cards = []
        else:
            cards.append(card_html(block))
    return "".join([*pieces, charts_html(cards)])


def card_html(block: Block) -> str:
    """One block as a card; empty without anything to show."""
    if isinstance(block, LineChart):
        return line_chart(block)
    if isinstance(block, BarChart):
        return bar_chart(block)
    if not isinstance(block, Table):
        return heat_map(block)
    shown = table(block.columns, block.rows, label=block.title, max_rows=CARD_ROWS)
    return f'<div class="chart"><h4>{escape(block.title)}</h4>{paragraph(block.text)}{shown}</div>' if shown else ""


def table_html(block: Table) -> str:
    """A table with its title; empty without rows."""
    shown = table(block.columns, block.rows, label=block.title)
    return heading(block.title) + paragraph(block.text) + shown if shown else ""


def charts_html(charts: Iterable[str]) -> str:
    """Charts beside each other where there is room."""
    body = "".join(charts)
    return f'<div class="charts">{body}</div>' if body else ""
