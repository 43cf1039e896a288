"""What the documents promise is there: commands parse, configs are valid, snippets name what exists, links lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import vertebra
from vertebra.backbones import BACKBONES, TimmBackbone
from vertebra.cli.main import app
from vertebra.config import Config, override, read_raw
from vertebra.inference.results import Result
from vertebra.parts import check_options, find
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "README.ko.md",
        "CONTRIBUTING.md",
        "examples/README.md",
        "docs/glossary.md",
        "docs/tutorial.md",
        "docs/api.md",
        "docs/concepts.md",
        "docs/data.md",
        "docs/figures.md",
        "docs/importing.md",
        "docs/instances.md",
        "docs/deployment.md",
        "docs/promises.md",
        "docs/predictions.md",
        "docs/recipe.md",
        "docs/devices.md",
        "docs/tuning.md",
        "docs/reports.md",
        "docs/augmentation.md",
        "docs/calibration.md",
        "docs/rotated_boxes.md",
        "docs/tracking.md",
        "docs/panoptic.md",
    )
]


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        for number, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)):
            yield pytest.param(text, id=f"{page.name}-{number}")


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_parse(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group: Any = typer.main.get_command(app)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if ">" in words:
            words = words[: words.index(">")]
        if words[:1] != ["vertebra"]:
            continue
        command, rest = group, words[1:]
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        with command.make_context("vertebra", list(rest)) as context:
            assert context.params


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configs_are_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    raw = read_raw(file)
    model = Config.from_raw(raw, "docs").model
    check_options(BACKBONES.get(model.backbone.name, TimmBackbone), model.backbone.options, "model.backbone")
    for branch in (model.shared, *model.branches.values()):
        for kind in ("neck", "encoder", "decoder"):
            part = getattr(branch, kind, None)
            if part is not None:
                check_options(find(kind, part.name), part.options, kind)
    Config.from_raw(override(raw, ["train.epochs=5", "model.backbone.name=resnet18"]), "docs")


@pytest.mark.parametrize("text", [text for text in blocks("python") if not str(text.id).startswith("CONTRIBUTING")])
def test_snippets_name_what_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vertebra":
            assert hasattr(vertebra, node.attr), f"vertebra.{node.attr}"
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            names = [alias.name for alias in node.names]
            assert all(hasattr(module, name) or find_spec(f"{node.module}.{name}") for name in names)


def test_the_examples_of_predictions_give_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = np.zeros((240, 320, 3), np.uint8)
    boxes = np.array([[40, 20, 160, 200], [210, 60, 300, 190], [5, 5, 25, 30]], np.float32)
    scores = np.array([0.93, 0.71, 0.4], np.float32)
    detections = DetectPrediction(boxes, scores, np.array([0, 1, 0]), DetectLabels(("dog", "cat")), image)
    probabilities = np.array([0.8, 0.04, 0.01, 0.15], np.float32)
    animal = ClassifyPrediction(probabilities, ClassifyLabels(("dog", "cat", "hen", "wolf")), image)
    mask = np.repeat([[1, 0], [2, 0]], 20, axis=0).repeat(20, axis=1)
    names = {
        "result": Result({"boxes": detections}, Path("dogs.jpg"), (240, 320)),
        "animal": animal,
        "regions": SegmentPrediction(mask, SegmentLabels(("grass", "sky", "dog"))),
        "farm": Result({"boxes": detections, "animal": animal}, Path("farm.jpg"), (240, 320)),
    }
    page = ROOT / "docs" / "predictions.md"
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", page.read_text(encoding="utf-8"), re.S))
    test = doctest.DocTestParser().get_doctest(examples, names, page.name, str(page), 0)
    assert len(test.examples) > 20
    report = io.StringIO()
    doctest.DocTestRunner(verbose=False).run(test, out=report.write)
    assert report.getvalue() == ""
    assert (tmp_path / "dogs_boxes.jpg").is_file()


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``: the headings of a page, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", prose):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_the_korean_readme_has_the_same_commands() -> None:
    def code(name: str, language: str) -> list[str]:
        found = re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
        return [re.sub(r"\s*#.*", "", text) for text in found]

    for language in ("bash", "python", "yaml"):
        assert code("README.md", language) == code("README.ko.md", language)


def test_a_new_part_fails_make_check_until_make_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Generated pages are compared by `make check`, not by a test, so that a new part breaks none."""
    from scripts import write_docs, write_parts_catalog
    from vertebra.necks import NECKS

    monkeypatch.setattr(write_parts_catalog, "KINDS", ("neck",))
    assert write_docs.main([], tmp_path) == 0 and write_docs.main(["--check"], tmp_path) == 0
    monkeypatch.setitem(NECKS, "another", NECKS["ssd_extra"])
    assert write_docs.main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert "parts/neck_another.md: is missing" in told and "parts.md: is out of date" in told
    assert told.rstrip().endswith("Run: make docs")
    assert write_docs.main([], tmp_path) == 0 and write_docs.main(["--check"], tmp_path) == 0
    monkeypatch.delitem(NECKS, "another")
    assert write_docs.main(["--check"], tmp_path) == 1
    assert "parts/neck_another.md: belongs to no part" in capsys.readouterr().err


def test_the_long_matrices_have_a_place_for_a_new_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their pages are written from what was measured; what is newer has empty cells until `make matrix`."""
    from scripts import write_compatibility, write_export_matrix
    from vertebra.decoders import DECODERS

    monkeypatch.setitem(DECODERS, "another", DECODERS["fcn"])
    [page] = write_compatibility.pages().values()
    assert "`another`" in page and "|  |" in page
    [page] = write_export_matrix.pages().values()
    assert "| `another` |  |" in page and "were not yet" in page


def test_nothing_is_installed_from_an_index_that_does_not_have_it() -> None:
    files = [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    found = [str(file) for file in files if re.search(r"pip install '?vertebra", file.read_text(encoding="utf-8"))]
    assert not found, "Vertebra has no release yet; name a checkout: pip install '.[train]'"


def test_the_korean_readme_has_the_same_sections_and_links() -> None:
    english, korean = (ROOT / name for name in ("README.md", "README.ko.md"))

    def sections(path: Path) -> int:
        return len(re.findall(r"^## ", path.read_text(encoding="utf-8"), re.M))

    def links(path: Path) -> set[str]:
        return set(re.findall(r"\]\((?!README)([^)]+)\)", path.read_text(encoding="utf-8")))

    assert sections(english) == sections(korean)
    assert links(english) == links(korean)


def test_the_tests_that_prove_the_promises_exist() -> None:
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 50
    for file, name in named:
        functions = [
            node.name for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body if hasattr(node, "name")
        ]
        assert name in functions, f"{file}::{name}"
    for line in page.splitlines():
        if line.startswith("| ") and not re.match(r"\| (code|event|promise|0) \|", line):
            assert "`tests/" in line, line


def test_the_page_of_the_public_surface_has_every_name() -> None:
    listed = re.findall(r"^\| `(\w+)` \| \S.*\. \|$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(vertebra.__all__)


def test_the_page_of_the_public_surface_runs(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    shutil.copytree(scenes / "animals", tmp_path / "data" / "animals")
    shutil.copy(next((scenes / "animals").rglob("*.png")), tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for text in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(text.replace("epochs=20", "epochs=1, workers=0"), names)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"animals", "second"}
    assert (tmp_path / "animals.onnx").is_file() and (tmp_path / "drawn.png").is_file()
    said = capsys.readouterr().out
    assert "resnet18" in said and "retinanet" in said and said.rstrip().endswith("['epochs']")
