"""Guard: the arguments in a docstring exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import vertebra

SOURCE = Path(vertebra.__file__).parent
SECTION = re.compile(r"^Args:\n((?:    .*\n|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    ((?:[*\w]+)(?:, [*\w]+)*):", re.MULTILINE)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(node: Function | ast.ClassDef) -> list[str]:
    """The names in the section ``Args:`` of a docstring, without stars."""
    text = ast.get_docstring(node)
    section = SECTION.search((text or "") + "\n")
    entries = ENTRY.findall(section[1]) if section else []
    return [name.lstrip("*") for entry in entries for name in entry.split(", ")]


def arguments(node: Function | ast.ClassDef) -> set[str]:
    """The names of the arguments of a function, or of a class's constructor or its fields."""
    if isinstance(node, Function):
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        return {argument.arg for argument in every if argument is not None}
    names: set[str] = set()
    for statement in node.body:
        if isinstance(statement, Function) and statement.name in ("__init__", "__new__", "__call__"):
            names |= arguments(statement)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
    return names


def wrong_names() -> Iterator[str]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, Function | ast.ClassDef):
                continue
            names = arguments(node)
            inherited = isinstance(node, ast.ClassDef) and not names  # the constructor of a base class
            if not inherited:
                yield from (
                    f"{path.relative_to(SOURCE)}:{node.lineno}: '{name}' is no argument; there are: {', '.join(sorted(names))}"
                    for name in documented(node)
                    if name not in names
                )


def test_documented_arguments_exist() -> None:
    wrong = list(wrong_names())
    assert not wrong, "\n".join(wrong)
