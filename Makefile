# Every target sets itself up: a virtual environment with the pinned requirements, made once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
REQUIREMENTS ?= requirements.txt
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(REQUIREMENTS)
PEERS_READY := $(VENV)/.ready-requirements-peers.txt
TORCHQUANTUM := .venv-torchquantum
DOCS_READY := $(VENV)/.ready-requirements-docs.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench bench-publish bench-gpu peer-torchquantum docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

setup: $(READY)  ## the virtual environment

$(READY): requirements.txt requirements-gpu.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(READY)  ## train on handwritten digits and write a report
	$(BIN)/qdeq fit digits

test: $(READY)  ## the tests and the notebooks
	$(BIN)/python -m pytest -m "not slow" --numprocesses=logical --dist=loadfile
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 --numprocesses=logical notebooks

test-slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## put the code into format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) $(PEERS_READY)  ## measurements beside stock Qiskit, PennyLane and others: tables and benchmarks/results/*.json
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

bench-publish: $(READY) $(PEERS_READY)  ## the same, written into docs/benchmarks.md and README.md too
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --publish

bench-gpu:  ## training steps on an NVIDIA GPU beside the CPU, tested first: an environment of its own, table in docs/how-to/gpu.md
	@$(PYTHON) benchmarks/gpu_at_hand.py
	$(MAKE) setup VENV=.venv-gpu REQUIREMENTS=requirements-gpu.txt
	.venv-gpu/bin/python -m pytest -k gpu tests/equilibrium tests/backends tests/training
	.venv-gpu/bin/python -m benchmarks.gpu --publish

$(PEERS_READY): requirements-peers.txt $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-peers.txt
	touch $@

peer-torchquantum: $(TORCHQUANTUM)/.ready  ## TorchQuantum for `make bench`: an environment of its own, several GB

$(TORCHQUANTUM)/.ready: requirements-torchquantum.txt
	test -x $(TORCHQUANTUM)/bin/python || $(PYTHON) -m venv $(TORCHQUANTUM)
	$(TORCHQUANTUM)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-torchquantum.txt
	$(TORCHQUANTUM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps torchquantum==0.1.8
	touch $@

$(DOCS_READY): $(READY) requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-docs.txt
	touch $@

docs: $(DOCS_READY)  ## the documentation site in docs/_build/html; every warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "file://$(CURDIR)/docs/_build/html/index.html"

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist docs/_build docs/tutorials/*.ipynb docs/reference/*/
