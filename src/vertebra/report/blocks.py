"""The charts and tables of a diagnosis as HTML."""

from __future__ import annotations

from collections.abc import Iterable

from vertebra.report.bar_charts import bar_chart
from vertebra.report.heat_maps import heat_map
from vertebra.report.html_page import heading, paragraph, table
from vertebra.report.line_charts import line_chart
from vertebra.tasks.diagnosis import BarChart, Block, LineChart, Table


def blocks_html(blocks: Iterable[Block]) -> str:
    """Charts beside each other where there is room, and tables below each other, in their order."""
    pieces: list[str] = []
    charts: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            pieces += [charts_html(charts), table_html(block)]
            charts = []
        else:
            charts.append(chart_html(block))
    return "".join([*pieces, charts_html(charts)])


def chart_html(block: Block) -> str:
    """One block; empty without anything to show."""
    if isinstance(block, LineChart):
        return line_chart(block)
    if isinstance(block, BarChart):
        return bar_chart(block)
    return table_html(block) if isinstance(block, Table) else heat_map(block)


def table_html(block: Table) -> str:
    """A table with its title; empty without rows."""
    shown = table(block.columns, block.rows, label=block.title)
    return heading(block.title) + paragraph(block.text) + shown if shown else ""


def charts_html(charts: Iterable[str]) -> str:
    """Charts beside each other where there is room."""
    body = "".join(charts)
    return f'<div class="charts">{body}</div>' if body else ""
