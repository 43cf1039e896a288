"""``vertebra data show``: tables, a contact sheet and an HTML page of a data set."""

from __future__ import annotations

from pathlib import Path

import typer

from vertebra.cli.data_options import FORMAT, GROUP_BY, IGNORE_INDEX, PATH, TASK, progress_bar


def show(
    path: str = PATH,
    task: str | None = TASK,
    split: str | None = typer.Option(None, help="Show only this split."),
    format_name: str | None = FORMAT,
    ignore_index: int | None = IGNORE_INDEX,
    group_by: str | None = GROUP_BY,
    augmented: bool = typer.Option(False, "--augmented", help="Show each image also as training does, augmented."),
    images: int = typer.Option(24, min=1, help="Images on the contact sheet."),
    page_images: int = typer.Option(200, min=1, help="Images on the HTML page; those with findings come first."),
    seed: int = typer.Option(0, help="Seed of the choice of images and of the augmentation."),
    out: Path | None = typer.Option(None, help="Write sheet.png and index.html into this folder."),
) -> None:
    """Show what is in a data set: counts, sizes, class balance and findings; with --out also its images with annotations."""
    from rich.console import Console

    from vertebra.annotations.options import ReadOptions
    from vertebra.data.check.run import checked
    from vertebra.report.data_overview import overview
    from vertebra.report.data_show import rich_table, write_pictures

    with progress_bar("read") as progress:
        content = checked(path, task, split, format_name, ReadOptions(None, ignore_index, seed), group_by, progress)
    console = Console()
    console.print(
        f"{content.report.path}: format {content.report.format}, {', '.join(content.report.tasks)}", highlight=False
    )
    tables = overview(content)
    for table in tables:
        console.print(rich_table(table))
    for finding in content.report.every:
        if finding.severity != "info":
            where = f" in {finding.split}" if finding.split else ""
            where += f" ({finding.task})" if finding.task and len(content.report.tasks) > 1 else ""
            console.print(f"{finding.severity}{where}: {finding.message}", highlight=False, markup=False)
    if out is not None:
        with progress_bar("draw") as progress:
            files = write_pictures(out, content, tables, images, page_images, augmented, seed, progress)
        for file in files:
            typer.echo(str(file))
