# podlake: `make demo`, `make test`, `make ui`. Everything is set up in .venv on the way.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PODLAKE_HOME ?= $(CURDIR)/data
FEED ?=
EPISODES ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-nemo lint check bench bench-accuracy notebooks chaos clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.embedded ## The main job on the demo's feed; FEED=https://… for one of your own (EPISODES=2 newest)
	@$(BIN)/python -m demo $(if $(FEED),--feed "$(FEED)" --newest $(EPISODES))

ui: $(VENV)/.embedded ## Dagster's web UI on the same instance and data
	@$(BIN)/podlake ui

test: $(VENV)/.dev ## The test suite, without what needs NeMo
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not nemo" tests

test-nemo: $(VENV)/.nemo ## The tests of the NeMo engines, on small real models
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m nemo tests

lint: $(VENV)/.dev ## ruff, format, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## What CI runs, without NeMo

bench-accuracy: $(VENV)/.dev ## Word and diarization error rates of the embedded engines
	$(BIN)/python -m bench.accuracy

notebooks: $(VENV)/.notebooks ## JupyterLab on notebooks/
	$(BIN)/jupyter lab notebooks

clean: ## Remove the virtual environment and the data
	rm -rf $(VENV) data

# A stamp per set of extras: made again when what it was made from changes.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "podlake needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V). Say which: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "venv is missing: sudo apt-get install python3-venv"; exit 1; }

$(VENV)/.embedded: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing podlake and its default engines into $(VENV) (about 1 GB, a minute or two) …"
	@$(INSTALL) --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing podlake, its default engines and the test tools into $(VENV) …"
	@$(INSTALL) --editable '.[embedded,dev]'
	@touch $@ $(VENV)/.embedded

$(VENV)/.nemo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing NeMo and torch into $(VENV) (another 2 GB on a CPU, several minutes) …"
	@$(INSTALL) torch==2.13.0
	@$(INSTALL) --editable '.[embedded,dev,nemo]'
	@touch $@ $(VENV)/.dev $(VENV)/.embedded

$(VENV)/.notebooks: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) --editable '.[embedded,notebooks]'
	@touch $@ $(VENV)/.embedded
