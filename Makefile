# One virtual environment, .venv, serves every target; `make help` lists them. With TORCH=2.14 it is
# another one, .venv-torch-2.14, with that torch and a torchaudio for it.

PYTHON ?= python3
TORCH ?=
OMP_NUM_THREADS ?= 1
ENVIRONMENT := .venv$(addprefix -torch-,$(TORCH))
BIN := $(ENVIRONMENT)/bin
STAMP := $(ENVIRONMENT)/installed
PINS := $(ENVIRONMENT)/constraints.txt
ALLOWED := $(shell sed -nE 's/^ *"torch([<>=][^"]*)".*/\1/p' pyproject.toml)
NO_PESQ := 'PESQ was not installed: building it needs a C compiler. It is left out of the metrics.'
CLEAN := build/environment
FOLDERS := codecs data export generators recipes

PORTABLE := codecs/layers codecs/encoders codecs/decoders codecs/quantizers codecs/streaming \
  generators/conditioning export/test_convolutional.py export/test_export.py

# Threads that wait without spinning: where processes share cores, that is several times as fast.
export OMP_WAIT_POLICY := passive
export GOMP_SPINCOUNT := 0

.DEFAULT_GOAL := help
.PHONY: help demo test pytest lint portable kernels wheel

help:
	@echo 'make demo   hear, score and fine-tune a speech codec, draw images: demo/report.html'
	@echo 'make test   lint, and all tests that need neither a GPU nor a long training'
	@echo 'make lint   ruff, ruff format and mypy'
	@echo 'make portable   tests of numbers with the plainest arithmetic that the processor can do'
	@echo 'make kernels    tests of the Triton kernels, with more rows and sizes; on a CPU interpreted'
	@echo 'make test TORCH=2.14   the same with another torch, in an environment of its own'
	@echo 'make wheel  build the wheel, install it in a clean environment and test it there'

demo: $(STAMP)
	$(BIN)/intaglio demo --out demo

# First, whether the environment has what pyproject.toml allows: a newer torch, put there by hand, say.
test: $(STAMP)
	@$(BIN)/python -m pip check
	$(MAKE) -j 2 lint pytest

# Many tests start processes: they find what is compiled, and have one thread each, unless
# OMP_NUM_THREADS says otherwise.
pytest: $(STAMP)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=$(OMP_NUM_THREADS) $(BIN)/pytest -m 'not slow' -rs \
	  --numprocesses auto --dist worksteal

# What has no bound of its own in float64 may fail on a processor without AVX2: this shows it on any.
portable: $(STAMP)
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=$(OMP_NUM_THREADS) $(BIN)/pytest -m 'not slow' \
	  --numprocesses auto $(addprefix tests/,$(PORTABLE))

# Triton comes with torch for Linux; where it is missing, it is 290 MB.
kernels: $(STAMP)
	@$(BIN)/python -c 'import triton' 2>/dev/null || $(BIN)/pip install triton
	OMP_NUM_THREADS=$(OMP_NUM_THREADS) $(BIN)/pytest --numprocesses auto \
	  tests/generators/inference/kernels

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Type checkers do not run `__init__.py`, which finds the sub-packages of a checkout: .links shows
# them the package as it is installed.
#
# Every library is installed by the hashes of requirements.lock, and the package with the locked build
# backend; with TORCH, by the versions of constraints.txt. CONTRIBUTING.md has the command that writes
# the two lock files.
$(STAMP): pyproject.toml constraints.txt requirements.lock pesq.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'intaglio needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …'; exit 1; }
ifdef TORCH
	@$(PYTHON) -c 'import re, sys; parts = lambda text: [int(part) for part in re.findall("[0-9]+", text)]; \
	  low, high = "$(ALLOWED)".split(","); sys.exit(not parts(low) <= parts("$(TORCH)") < parts(high))' || \
	  { echo 'TORCH=$(TORCH): pyproject.toml allows torch$(ALLOWED)'; exit 1; }
endif
	$(PYTHON) -m venv $(ENVIRONMENT)
ifdef TORCH
	{ grep -Ev '^torch(audio)?==' constraints.txt; echo 'torch==$(TORCH).*'; } > $(PINS)
	$(BIN)/pip install -c $(PINS) -e '.[dev]'
	@$(BIN)/pip install -c $(PINS) pesq || echo $(NO_PESQ)
else
	$(BIN)/pip install --require-hashes -r requirements.lock
	$(BIN)/pip install --no-deps --no-build-isolation -e .
	@$(BIN)/pip install --require-hashes --no-deps -r pesq.lock || echo $(NO_PESQ)
endif
	rm -rf .links && mkdir -p .links/intaglio
	ln -s $(addprefix ../../,$(FOLDERS) recipes/package/intaglio/__init__.py) .links/intaglio
	touch $@

# The wheel alone goes into a new environment. A .pth file lends it the libraries of .venv: Python
# reads no .pth files in a folder that a .pth file names, so the editable install stays invisible.
wheel: $(STAMP)
	rm -rf build dist
	$(BIN)/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m venv --without-pip $(CLEAN)
	$(BIN)/pip --python $(CLEAN)/bin/python install --no-deps dist/intaglio-*.whl
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(CLEAN)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/libraries.pth"
	$(CLEAN)/bin/python -m pip check
	cd build && environment/bin/intaglio --help
	cd build && environment/bin/intaglio doctor
	$(CLEAN)/bin/python -P -m pytest -m 'not slow' -k 'packaging or small' --numprocesses auto \
	  tests/test_packaging.py tests/recipes/test_recipes.py
