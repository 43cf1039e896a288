"""Export: a model as a file for another runtime, compared with the model before the file gets its name.

- `vertebra.export.export_model`: the whole way from a model to its file; `vertebra.export.options`: which options go together.
- `vertebra.export.targets`: a file for each kind of exported file ("Add an export target" in CONTRIBUTING.md).
- `vertebra.export.torch_export`: the graph that all targets are written from; `vertebra.export.passes`: float16, int8, and
  preprocessing inside the graph.
- `vertebra.export.parity`: the comparison with PyTorch, on the inputs of `vertebra.export.parity_inputs`.
- `vertebra.export.evaluate`, `vertebra.export.benchmark`: metrics and speed of a model in any runtime.

`vertebra.runtimes` opens the files.
"""
