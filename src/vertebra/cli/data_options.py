"""Options that several ``vertebra data`` commands share, and their progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer

from vertebra.errors import ConfigError, shortened

PATH = typer.Argument(..., help="A data set: folder or annotation file.")
TASK = typer.Option(
    None,
    help="a task's name (classify, detect, rotated_boxes, segment, instances, keypoints, or an installed one); by default all "
    "with labels.",
)
FORMAT = typer.Option(None, "--format", help="The format; by default detected.")
IGNORE_INDEX = typer.Option(None, help="Mask value of ignored pixels.")
GROUP_BY = typer.Option(
    None,
    help="Images that belong together: FOLDER, a column of a table, or a regular expression with a group, such as '(clip\\d+)_'; "
    "by default guessed from names and content.",
)
COLUMN = typer.Option([], help="A column of a table: image=path, label=species; may be given several times.")


def columns_of(entries: Sequence[str]) -> dict[str, str]:
    """What is read, and the column's name, from entries such as "image=path".

    Raises:
        ConfigError: an entry has another form.
    """
    columns = {}
    for entry in entries:
        role, _, column = entry.partition("=")
        if not role or not column:
            raise ConfigError(f"--column {shortened(entry)}: write what is read and the column's name, as image=path")
        columns[role] = column
    return columns


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, moved by calls with the number of images read and of all; None where it is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        row = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)
