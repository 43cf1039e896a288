"""Guard: a function fits on a screen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import vertebra

SOURCE = Path(vertebra.__file__).parent
MAX_LINES = 60


class Function(NamedTuple):
    """A function, and the lines of code in its body: without signature, docstring, comments and empty lines."""

    name: str
    line: int
    length: int


def functions(text: str) -> Iterator[Function]:
    """All functions in a source text, methods and functions inside of others too."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body if ast.get_docstring(node) is None else node.body[1:]
            if body:
                inside = lines[body[0].lineno - 1 : body[-1].end_lineno]
                code = [line for line in inside if line.strip() and not line.lstrip().startswith("#")]
                yield Function(node.name, node.lineno, len(code))


def test_only_code_is_counted() -> None:
    text = '''
class A:
    def method(
        self,
    ) -> None:
        """What it does.

        More of it.
        """
        # a comment
        first = 1

        def inner() -> int:
            """Nothing else."""
        return inner(
            first
        )
'''
    assert list(functions(text)) == [Function("method", 3, 6)]


def test_no_function_is_too_long() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {name}() has {length} lines of code"
        for path in sorted(SOURCE.rglob("*.py"))
        for name, line, length in functions(path.read_text(encoding="utf-8"))
        if length > MAX_LINES
    ]
    assert not wrong, f"split them; a function has at most {MAX_LINES}:\n" + "\n".join(wrong)
