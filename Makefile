# make demo   set up and run the demo           make check  ruff, types, and the generated pages
# make test   set up and run the tests          make docs   write the generated pages
# make bench  the benchmarks (long)             make matrix every combination of parts (long)
# make gpu    the tests that need a GPU       make fuzz   10,000 damaged inputs of each format (long)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs bench matrix gpu fuzz clean
.DEFAULT_GOAL := test

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Vertebra needs Python 3.10 or newer; choose one with: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/vertebra demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/.ready
	$(BIN)/ruff format --check src tests scripts benchmarks examples
	$(BIN)/ruff check src tests scripts benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m scripts.write_docs --check

docs: $(VENV)/.ready
	$(BIN)/python -m scripts.write_docs

matrix: $(VENV)/.ready
	VERTEBRA_MATRIX_WHOLE=1 $(BIN)/python -m pytest -n auto tests/testing/test_matrix.py tests/encoders/test_feature_parts.py tests/optimize/test_conv_prepack.py tests/test_compiled.py tests/export/test_onnx.py tests/fuzz/test_fuzz.py tests/overfit tests/export/test_executorch.py tests/inference/ray/test_ray_predictor.py tests/training/test_kills.py
	$(BIN)/python -m scripts.write_compatibility
	$(BIN)/python -m scripts.write_export_matrix

gpu: $(VENV)/.ready
	VERTEBRA_TEST_GPU=1 $(BIN)/python -m pytest tests/optimize/test_cuda_graphs.py tests/training/test_gpu.py

fuzz: $(VENV)/.ready
	$(BIN)/python tests/fuzz --count 10000

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist src/*.egg-info
