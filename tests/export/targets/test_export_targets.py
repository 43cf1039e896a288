"""An installed package adds an export target and its runtime by entry points; nothing in Vertebra names them."""

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

PACKAGE = '''
"""Graphs in a file of their own: a line of metadata, and behind it what torch.export saves."""
import io

import numpy as np
import torch

from vertebra.errors import WeightsError
from vertebra.export.targets.base import ExportTarget
from vertebra.export.torch_export import BATCH, Flat, dynamic_shapes, example
from vertebra.runtimes.base import FileFormat


def read_metadata(path):
    return path.read_bytes().partition(b"\\n")[0].decode() or None


GRAPH = FileFormat(".graph", "Graph", read_metadata)


class GraphSession:
    def __init__(self, path):
        try:
            program = torch.export.load(io.BytesIO(path.read_bytes().partition(b"\\n")[2]))
        except Exception as error:
            raise WeightsError(f"{path}: damaged") from error
        self.module = program.module()
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        def shape(name):
            return [side if isinstance(side, int) else None for side in values[name].shape]
        self.inputs = dict(zip(("images", "sizes"), map(shape, program.graph_signature.user_inputs)))
        self.outputs = {str(row): shape(name) for row, name in enumerate(program.graph_signature.user_outputs)}

    def run(self, *arrays):
        with torch.no_grad():
            return [value.numpy() for value in self.module(*map(torch.from_numpy, arrays))]


class GraphRuntime:
    name = "graph"
    formats = (GRAPH,)
    precisions = ()
    gpu_only = False

    def open(self, path, options):
        return GraphSession(path)


class GraphTarget(ExportTarget):
    name = "graph"
    format = GRAPH
    runtime = GraphRuntime()
    error = 0.0

    def write(self, job, folder, *, free):
        class Shifted(torch.nn.Module):
            def __init__(self, flat, error):
                super().__init__()
                self.flat, self.error = flat, error

            def forward(self, images, sizes):
                return tuple(value + self.error for value in self.flat(images, sizes))

        shifted = Shifted(Flat(job.model), self.error).eval()
        args = example(job.model, job.model.plan.size, BATCH)
        program = torch.export.export(shifted, args, dynamic_shapes=dynamic_shapes(False))
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        file = folder / "model.graph"
        file.write_bytes(b"\\n" + buffer.getvalue())
        return file

    def write_metadata(self, path, metadata):
        path.write_bytes(metadata.encode() + path.read_bytes())


class WrongTarget(GraphTarget):
    name = "wrong"
    error = 0.5
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package above, as an installer would lay it down."""
    folder = tmp_path / "packages"
    about = folder / "graphfiles-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "graphfiles.py").write_text(PACKAGE)
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
    report = export_model(model, path, canvas="fixed")
    assert max(report["differences"].values()) < 1e-4 and report["input"] == "canvas"
    assert sorted(own.name for own in tmp_path.glob("model*")) == ["model.graph", "model.graph.json"]
    assert is_exported(path) and find_runtime(path).name == "graph"
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    file = vertebra.load(path)
    assert isinstance(file, ExportedModel)
    (predicted,), (expected,) = file.predict(image), model.predict(image)
    np.testing.assert_allclose(predicted["classify"].probabilities, expected["classify"].probabilities, atol=1e-5)


def test_a_wrong_file_of_a_package_gets_no_name(installed: None, model: VisionModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="differs by"):
        export_model(model, tmp_path / "model.graph", to="wrong", canvas="fixed")
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
    with pytest.raises(ConfigError, match=r"the name of such a file ends in \.graph"):
        find_target(Path("model.onnx"), "graph")
    with pytest.raises(UnknownName, match="onx.*Did you mean 'onnx'"):
        find_target(Path("model.onnx"), "onx")


def test_without_the_package_its_files_are_unknown() -> None:
    assert find_format("model.graph") is None and not is_exported("model.graph") and not is_exported("folder")
    with pytest.raises(ConfigError, match=r"ends in \.onnx, \.xml, \.pt2, \.pte"):
        find_target(Path("model.graph"))
    with pytest.raises(UnknownName, match="'graph'"):
        find_runtime("model.onnx", "graph")
