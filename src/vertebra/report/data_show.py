"""What ``vertebra data show`` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table as RichTable

from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.check.run import Checked, Progress
from vertebra.files import os_errors_as_run_errors, replacing
from vertebra.report.data_overview import Table
from vertebra.report.data_page import FindingsByImage, write_data_page
from vertebra.report.data_pictures import Shown, chosen_rows, contact_sheet, pictures

SHEET, PAGE = "sheet.png", "index.html"


def rich_table(table: Table) -> RichTable:
    """A table for the terminal."""
    shown = RichTable(title=table.title, title_justify="left")
    for number, name in enumerate(table.head):
        shown.add_column(name, justify="right" if 0 < number < len(table.head) - 1 else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def write_pictures(
    out: Path,
    content: Checked,
    tables: Sequence[Table],
    images: int,
    page_images: int,
    augmented: bool,
    seed: int,
    progress: Progress | None = None,
) -> list[Path]:
    """Writes the contact sheet and the page.

    Args:
        out: the folder, which is created; files of these names in it are replaced.
        images, page_images: numbers of images on the sheet and on the page.
        augmented: whether to show them augmented, too.
        seed: of the choice of images and of the augmentation.

    Raises:
        DataError: no image can be shown.
        RunError: the folder cannot be written.
    """
    on_sheet = {name: set(chosen_rows(one, count, seed)) for name, one, count in _shares(content, images)}
    on_page = {name: _page_rows(content, one, count, seed) for name, one, count in _shares(content, page_images)}
    total = sum(len(on_sheet[name] | set(rows)) for name, rows in on_page.items())
    sheet: list[Shown] = []
    page: list[Shown] = []
    done = 0
    for name, one in content.opened.splits.items():
        rows_of = {one.name_of(row): row for row in sorted(on_sheet[name] | set(on_page[name]))}
        for shown in pictures(one, list(rows_of.values()), augmented=augmented, seed=seed):
            row = rows_of[shown.name]
            sheet += [shown] if row in on_sheet[name] else []
            page += [shown] if row in on_page[name] else []
            done += 1
            if progress is not None:
                progress(done, total)
    with os_errors_as_run_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / SHEET) as part:
            contact_sheet(sheet).save(part, "PNG", compress_level=1)
        write_data_page(out / PAGE, content.report, tables, page)
    return [out / SHEET, out / PAGE]


def _shares(content: Checked, count: int) -> list[tuple[str, OpenedSplit, int]]:
    """Each split with its part of a number of images, at least two and by its size."""
    splits = content.opened.splits
    whole = max(sum(map(len, splits.values())), 1)
    return [(name, one, min(len(one), max(2, round(count * len(one) / whole)))) for name, one in splits.items()]


def _page_rows(content: Checked, opened: OpenedSplit, count: int, seed: int) -> list[int]:
    """The images with findings that are no mere information first, then others."""
    kinds_of = FindingsByImage(finding for finding in content.report.every if finding.severity != "info")
    rows = [row for row in range(len(opened)) if kinds_of[opened.name_of(row)]]
    others = chosen_rows(opened, max(0, count - len(rows)), seed)
    return sorted({*rows[:count], *others})
