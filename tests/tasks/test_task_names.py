"""Guard: no file outside a short list names a task, or uses a type of one. What a file asks about a task is a property of
`vertebra.tasks.task.Task`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vertebra
from vertebra.tasks import TASKS

SOURCE = Path(vertebra.__file__).parent
ALLOWED = {
    "__init__.py": "the prediction types are public names",
    "tasks/__init__.py": "the table of tasks",
    **{f"tasks/{name}/": "the task itself" for name in TASKS},
    "decoders/": "a decoder serves one task",
    "panoptic/": "it fuses the predictions of two tasks",
    "losses/segmentation_loss.py": "the losses of the decoders of one task",
    "weights/peers/": "a table is for a peer's model of one task",
}
FORMATS = ("data/readers/", "data/writers/")


def task_names(code: str) -> list[str]:
    """Where code names a task: as a text, or as the package of an import."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and node.value in TASKS:
            found.append(f"line {node.lineno}: '{node.value}'")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vertebra.tasks."):
            if (node.module or "").split(".")[2] in TASKS:
                found.append(f"line {node.lineno}: import of {node.module}")
        elif isinstance(node, ast.ImportFrom) and node.module == "vertebra.tasks":
            imported = [alias.name for alias in node.names if alias.name.lower() in TASKS]
            found += [f"line {node.lineno}: import of {name}" for name in imported]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names if alias.name.startswith("vertebra.tasks.")]
            found += [f"line {node.lineno}: import of {name}" for name in modules if name.split(".")[2] in TASKS]
    return found


def is_allowed(path: str) -> bool:
    return any(path == entry or (entry.endswith("/") and path.startswith(entry)) for entry in ALLOWED)


def test_nobody_knows_a_task_by_name() -> None:
    named = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        found = task_names(path.read_text())
        if name.startswith(FORMATS):  # words of the formats: COCO's key "keypoints", YOLO's task "segment"
            found = [entry for entry in found if "import of" in entry]
        if found and not is_allowed(name):
            named[name] = found
    assert not named, "ask the Task instead (vertebra/tasks/task.py)"


@pytest.mark.parametrize("entry", ALLOWED)
def test_the_list_has_no_entry_without_use(entry: str) -> None:
    files = (SOURCE / entry).rglob("*.py") if entry.endswith("/") else [SOURCE / entry]
    assert any(task_names(file.read_text()) for file in files)


@pytest.mark.parametrize(
    "code",
    [
        'if task == "detect": pass',
        'TABLE = {"segment": 1}',
        "from vertebra.tasks.detect.types import DetectPrediction",
        "import vertebra.tasks.classify.labels",
        "from vertebra.tasks import DETECT",
    ],
)
def test_the_guard_finds_names(code: str) -> None:
    assert task_names(code) and not task_names("from vertebra.tasks.task import Task\nverb = 'detects'")
