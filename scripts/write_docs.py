"""Writes the generated pages of ``docs/``, or with ``--check`` compares them with what it would write.

python -m scripts.write_docs [--check]

The parts catalog comes from the code. The pages of the long measurements come from the files that `make matrix` left beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from scripts import write_compatibility, write_export_matrix, write_parts_catalog

DOCS = Path(__file__).parents[1] / "docs"
BY_VERSION = "### Families of timm"  # what follows differs with the version of timm, and is not compared


def generated() -> dict[str, str]:
    """All generated pages, by path below ``docs/``."""
    return {**write_parts_catalog.pages(), **write_compatibility.pages(), **write_export_matrix.pages()}


def differences(pages: Mapping[str, str], folder: Path) -> list[str]:
    """What is wrong with a folder's pages, a line for each page; none where they are up to date."""
    lines = []
    for path, text in sorted(pages.items()):
        file = folder / path
        if not file.exists():
            lines.append(f"{file}: is missing")
        elif file.read_text(encoding="utf-8").split(BY_VERSION)[0] != text.split(BY_VERSION)[0]:
            lines.append(f"{file}: is out of date")
    parts = {f"parts/{file.name}" for file in (folder / "parts").glob("*.md")}
    return lines + [f"{folder / path}: belongs to no part" for path in sorted(parts - set(pages))]


def write(pages: Mapping[str, str], folder: Path) -> None:
    """Writes the pages, and removes those of parts that are no more."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        (folder / path).write_text(text, encoding="utf-8")
    for file in (folder / "parts").glob("*.md"):
        if f"parts/{file.name}" not in pages:
            file.unlink()


def main(arguments: list[str], folder: Path = DOCS) -> int:
    """The exit code: 1 where ``--check`` finds a difference."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    pages = generated()
    if not arguments:
        write(pages, folder)
        return 0
    lines = differences(pages, folder)
    if lines:
        print("\n".join(lines), "\nThe code and the generated pages differ. Run: make docs", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
