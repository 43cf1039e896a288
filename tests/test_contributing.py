"""CONTRIBUTING.md is true: each worked part is built from the page itself, and passes the page's own tests."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vertebra
from vertebra.parts import describe, names
from vertebra.tasks import all_tasks

pytestmark = pytest.mark.filterwarnings("ignore:.*given as objects")  # the page builds models from its own classes

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
BLOCK = re.compile(r"```python\n# ((?:src|tests)/[\w/]+\.py)\n(.*?)```", re.S)
PAGE_TEXT = PAGE.read_text(encoding="utf-8")
FILES: dict[str, str] = dict(BLOCK.findall(PAGE_TEXT))
SOURCES = [path for path in FILES if path.startswith("src/")]
TESTS = [path for path in FILES if path.startswith("tests/")]
LONGEST = 66  # lines of a worked part, without empty ones
LONGEST_TASK = 130  # of a whole task with its decoder


def test_the_table_of_places_names_what_exists() -> None:
    table = PAGE_TEXT.partition("## Where is what")[2].partition("\n## ")[0]
    paths = re.findall(r"`([\w/]+(?:/|\.py))`", table)
    assert len(paths) > 40
    root = Path(vertebra.__file__).parent
    shared = (
        "metrics.py",
        "predictions.py",
        "tiles.py",
        "tta.py",
        "from_annotations.py",
        "diagnosis.py",
    )  # in the folder of each task
    for path in paths:
        folders = [root / "tasks" / "detect"] if path in shared else [root, root.parents[1]]
        assert any((folder / path).exists() for folder in folders), path


def load(path: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of the page as the module that it would be, importable by its name until the test ends."""
    file = folder / Path(path).name
    file.write_text(FILES[path], encoding="utf-8")
    name = module_of(path)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def module_of(path: str) -> str:
    """The name by which a file of the page is imported."""
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


FUNCTIONS = [(path, name) for path in TESTS for name in re.findall(r"^def (test_\w+)", FILES[path], re.M)]


@pytest.mark.parametrize(("path", "function"), FUNCTIONS)
def test_the_page_passes_its_own_tests(
    path: str, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [source for source in SOURCES if module_of(source) in FILES[path]]
    for source in sources:
        load(source, tmp_path, monkeypatch)
    with installed(sources, tmp_path, monkeypatch):
        getattr(load(path, tmp_path, monkeypatch), function)()


@contextmanager
def installed(sources: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's entry points for these files, in a folder as an installer writes it."""
    about = folder / "worked-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: worked\nVersion: 1.0\n")
    lines = []
    for group, entries in re.findall(r'^\[project\.entry-points\."(.*?)"\]\n((?:\w+ = .*\n)+)', PAGE_TEXT, re.M):
        found = re.findall(r'^(\w+) = "(\w+):(\w+)"', entries, re.M)
        here = [f"{name} = {module}:{attribute}" for name, module, attribute in found if f"src/{module}.py" in sources]
        lines += [f"[{group}]", *here]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    all_tasks.cache_clear()
    yield
    monkeypatch.undo()
    all_tasks.cache_clear()


@pytest.mark.parametrize("kind", ["neck", "encoder", "decoder"])
def test_a_worked_part_gets_a_name_a_page_and_options(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page says: its file in its folder, its name in the folder's dictionary, and all else follows."""
    [path] = [path for path in SOURCES if path.startswith(f"src/vertebra/{kind}s/")]
    name = Path(path).stem
    module = load(path, tmp_path, monkeypatch)
    [part] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "paper")
    ]
    dictionary: dict[str, Any] = getattr(importlib.import_module(f"vertebra.{kind}s"), f"{kind}s".upper())
    assert name not in names(kind), "a worked part of the page is one that the library does not have"
    monkeypatch.setitem(dictionary, name, part)
    described = describe(kind, name)
    assert described.summary and described.paper
    assert described.options and all(option.meaning for option in described.options)
    built = create(kind, name)
    assert type(getattr(built.branch("segment"), kind)) is part
    first = described.options[0].name
    with pytest.raises(vertebra.VertebraError, match=f"Did you mean '{first}'"):
        create(kind, {"name": name, f"{first}s": 8})


def create(kind: str, part: Any) -> Any:
    """A tiny model with a part of that kind."""
    parts = {"decoder": "fcn", kind: part}
    return vertebra.create_model("test_resnet", classes=["road", "car"], image_size=64, **parts)


def test_every_worked_file_is_short_and_has_a_test() -> None:
    for path in SOURCES:
        lines = [line for line in FILES[path].splitlines() if line.strip()]
        assert len(lines) <= (LONGEST_TASK if "Task(" in FILES[path] else LONGEST), f"{path} has {len(lines)} lines"
        assert any(module_of(path) in FILES[test] for test in TESTS), f"{path}: no test of the page imports it"
