"""An installed package adds an export target and its runtime by entry points; the package is the example in CONTRIBUTING.md."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra.errors import ConfigError, ExportError, UnknownName
from vertebra.export.export_model import export_model
from vertebra.export.targets import find_target, list_targets
from vertebra.inference.exported_model import ExportedModel
from vertebra.model import VisionModel
from vertebra.runtimes import find_format, find_runtime, is_exported

PAGE = Path(__file__).parents[3] / "CONTRIBUTING.md"
WRONG = """

class WrongTarget(GraphTarget):
    name = "wrong"

    def write(self, job, folder, *, free):
        wrong = copy.deepcopy(job.model)
        list(wrong.parameters())[-1].data[0] += 0.5  # the bias of one class
        return super().write(dataclasses.replace(job, model=wrong), folder, free=free)
"""


def example() -> str:
    """The worked example of the page."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Add an export target\n")[2]
    return section.partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example as a package, in files as an installer writes them."""
    folder = tmp_path / "packages"
    about = folder / "graphfiles-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "graphfiles.py").write_text("import copy, dataclasses\n" + example() + WRONG)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: graphfiles\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        textwrap.dedent("""\
        [vertebra.export_targets]
        graph = graphfiles:GraphTarget
        wrong = graphfiles:WrongTarget
        [vertebra.runtimes]
        graph = graphfiles:GraphRuntime
        """)
    )
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(32, 48)).eval()


def test_a_target_of_a_package_passes_the_gate_and_its_file_predicts(
    installed: None, model: VisionModel, tmp_path: Path
) -> None:
    path = tmp_path / "model.graph"
    report = export_model(model, path)
    assert max(report["differences"].values()) < 1e-4 and report["input"] == "canvas"
    assert report["why_fixed"] == "files .graph have one canvas"
    assert sorted(own.name for own in tmp_path.glob("model*")) == ["model.graph", "model.graph.json"]
    assert is_exported(path) and find_runtime(path).name == "graph"
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    file = vertebra.load(path)
    assert isinstance(file, ExportedModel)
    (predicted,), (expected,) = file.predict(image), model.predict(image)
    np.testing.assert_allclose(predicted["classify"].probabilities, expected["classify"].probabilities, atol=1e-5)


def test_a_wrong_file_of_a_package_gets_no_name(installed: None, model: VisionModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="differs by"):
        export_model(model, tmp_path / "model.graph", to="wrong")
    assert not list(tmp_path.glob("model*"))


def test_options_that_a_target_does_not_have(installed: None, model: VisionModel, tmp_path: Path) -> None:
    path = tmp_path / "model.graph"
    with pytest.raises(ConfigError, match=r"a \.graph file takes canvases"):
        export_model(model, path, input="pixels")
    with pytest.raises(ConfigError, match=r"a \.graph file is fp32; for fp16 export to onnx or openvino"):
        export_model(model, path, precision="fp16")


def test_the_name_or_the_end_of_the_file_chooses_the_target(installed: None) -> None:
    assert [target.name for target in list_targets()][-2:] == ["graph", "wrong"]
    for name, suffix in (("onnx", ".onnx"), ("openvino", ".xml"), ("torch", ".pt2"), ("executorch", ".pte")):
        assert (
            find_target(Path(f"model{suffix}")).name == find_target(Path(f"MODEL{suffix.upper()}"), name).name == name
        )
    with pytest.raises(ConfigError, match=r"the suffix of such a file is \.graph"):
        find_target(Path("model.onnx"), "graph")
    with pytest.raises(UnknownName, match="onx.*Did you mean 'onnx'"):
        find_target(Path("model.onnx"), "onx")


def test_without_the_package_its_files_are_unknown() -> None:
    assert find_format("model.graph") is None and not is_exported("model.graph") and not is_exported("folder")
    with pytest.raises(ConfigError, match=r"is \.onnx, \.xml, \.pt2, \.pte"):
        find_target(Path("model.graph"))
    with pytest.raises(UnknownName, match="'graph'"):
        find_runtime("model.onnx", "graph")


def test_a_package_that_fails_to_load_breaks_no_target_of_vertebra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[vertebra.export_targets]\nb = no_such:B\n[vertebra.runtimes]\nb = no_such:B\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_target(Path("model.onnx")).name == find_runtime("model.onnx").name == "onnx"
    assert find_runtime("model.onnx", "openvino").name == "openvino"
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        find_format("model.graph")
