"""Guards: who may import whom, what importing costs, and the public surface."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import vertebra

SOURCE = Path(vertebra.__file__).parent
LAYERS = [
    ["errors", "cpus", "messages", "processes", "strict_json"],
    ["features", "files", "validation", "yaml_files"],
    ["checkpoints"],
    ["geometry", "preprocess"],
    ["tasks"],
    ["layers"],
    ["losses", "matching"],
    ["backbones", "necks", "encoders", "decoders"],
    ["parts"],
    ["model"],
    ["recipe", "required_levels"],
    ["config"],
    ["build"],
    ["weights"],
    ["data"],
    ["model_info"],
    ["optimize"],
    ["runtimes"],
    ["inference"],
    ["report"],
    ["evaluation"],
    ["training"],
    ["export"],
    ["testing"],
    ["demo"],
    ["cli"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# faces that call down on purpose, when called: model.predict(), and the tables of key names that backbones load with
EXCEPTIONS = {("model", "inference"), ("model", "optimize"), ("backbones", "weights")}


def imports(path: Path) -> set[str]:
    """Top-level names inside vertebra that a file imports, other than for type checking."""
    found = set()
    tree = ast.parse(path.read_text())
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vertebra."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("vertebra.")}
    return found


def home(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upward_only(path: Path) -> None:
    own = home(path)
    if own == "__init__":
        return
    for other in imports(path) - {own}:
        if (own, other) not in EXCEPTIONS:
            assert RANK[other] < RANK[own], f"{own} must not import {other}"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_no_torch() -> None:
    heavy = "[m for m in ('torch', 'timm', 'lightning', 'numpy') if m in sys.modules]"
    assert run(f"import sys, vertebra; print({heavy})") == "[]"
    assert run(f"import sys, vertebra.cli.main; print({heavy})") == "[]"


def test_tasks_load_no_torch() -> None:
    assert run("import sys, vertebra.tasks; print('torch' in sys.modules)") == "False"


def test_the_public_names() -> None:
    assert vertebra.__all__ == [
        "as_backbone", "Cascade", "create_model", "evaluate", "export_model", "Features", "FeatureSpec", "Frame",
        "import_model", "Level", "load", "save", "train",
        "VertebraError", "VisionModel",
    ]  # fmt: skip
    for name in vertebra.__all__:
        assert getattr(vertebra, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vertebra.nothing  # noqa: B018


def test_help_is_quick() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(
            "import sys; sys.argv = ['vertebra', '--help']\n"
            "from vertebra.cli.main import main\ntry: main()\nexcept SystemExit: pass"
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3, f"vertebra --help took {min(times):.2f} s"
