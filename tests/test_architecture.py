"""Guards: who may import whom, what importing costs, and the public surface."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vertebra

SOURCE = Path(vertebra.__file__).parent
LAYERS = [
    ["errors", "cpus", "messages", "processes", "strict_json"],
    ["keywords"],
    ["features", "files", "validation", "yaml_files"],
    ["checkpoints", "shards"],
    ["geometry", "preprocess"],
    ["annotations"],
    ["tasks"],
    ["tracking", "panoptic"],
    ["model_info"],
    ["layers"],
    ["losses", "matching"],
    ["backbones", "necks", "encoders", "decoders"],
    ["parts"],
    ["model"],
    ["recipe", "required_levels"],
    ["config_short_forms"],
    ["config"],
    ["object_parts", "part_builder"],
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
    ["tuning"],
    ["export"],
    ["calibration"],
    ["testing"],
    ["api"],
    ["loading"],
    ["demo"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
EXCEPTIONS = {("backbones", "weights")}  # the tables of key names that backbones load with


def import_statements(path: Path) -> Iterator[tuple[str, str]]:
    """(module, imported name) of each import inside vertebra, those inside functions too, other than for type checking."""
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
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "vertebra":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "vertebra")


def imports(path: Path) -> set[str]:
    """Top-level names inside vertebra that a file imports."""
    modules = {module if module != "vertebra" else f"vertebra.{name}" for module, name in import_statements(path)}
    return {module.split(".")[1] for module in modules - {"vertebra.__version__", "vertebra"}}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_imports() -> dict[str, set[str]]:
    """The files that each file imports, by module names. The package itself, which only leads to others, is left out."""
    files = {module_name(path): path for path in SOURCE.rglob("*.py")}
    graph = {}
    for name, path in files.items():
        targets = {
            full if (full := f"{module}.{imported}") in files else module
            for module, imported in import_statements(path)
        }
        graph[name] = {target for target in targets if target in files} - {name, "vertebra"}
    return graph


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


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Names that lead to each other in a circle, the first one again at the end; empty where there is no circle."""
    while leaves := {name for name, targets in graph.items() if not targets}:
        graph = {name: targets - leaves for name, targets in graph.items() if name not in leaves}
    walk: list[str] = []
    name = next(iter(graph), "")
    while name and name not in walk:
        walk.append(name)
        name = min(graph[name])
    return [*walk[walk.index(name) :], name] if name else []


def test_circles_are_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = file_imports()
    assert "vertebra.loading" in graph and "vertebra.api" in graph["vertebra.loading"], "lazy imports count too"
    circle = find_circle(graph)
    assert not circle, f"imports in a circle: {' -> '.join(circle)}"


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
        "as_backbone", "AttributePrediction", "Cascade", "ClassifyPrediction", "ConfigError", "convert_data", "create_model",
        "DataError",
        "DetectPrediction", "evaluate", "evaluate_tracks", "export_model",
        "ExportError", "Features", "FeatureSpec", "Frame", "import_model",
        "IncompatiblePartsError", "InstancePrediction",
        "KeypointPrediction", "Level", "list_backbones", "list_parts", "list_runs", "load", "MissingFieldError", "Model",
        "ObjectPartWarning", "PanopticPrediction",
        "Predictor", "Result", "resume", "RotatedBoxPrediction",
        "Run", "RunError", "RunStopped", "RunSummary", "RuntimeModel", "save",
        "SegmentPrediction", "Tracker", "train",
        "UnknownName", "VertebraError", "VisionModel", "WeightsError", "write_report",
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
