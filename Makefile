# Two commands do everything on a machine that has Python and make:
#   make lab     set up, and open JupyterLab at the first notebook
#   make test    set up, and run every test, docstring example and notebook
# A smaller, CPU-only PyTorch:  make lab PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?=
WORKERS ?= 2
LAB_FLAGS ?=
BENCH_FLAGS ?=
BUILD ?= build
CANDIDATE ?= other

BIN := $(VENV)/bin
READY := $(VENV)/.coop_edu_installed
SITE_READY := $(VENV)/.coop_edu_site
FROM_NPM := docs/explorer/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup lab check quick test lint bench outputs learner site wheel miniclip clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("coop_edu needs Python 3.10 or newer, this is " + sys.version.split()[0] + ". Name another one:  make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -e ".[test]"
	$(BIN)/python -m jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements  # asks the network for news
	touch $(READY)

setup: $(READY)  ## create .venv and install the package into it

lab: setup  ## open JupyterLab at the first notebook
	$(BIN)/python -m jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_FLAGS)

check: setup  ## the environment check: versions, device, cache folder, assets
	$(BIN)/python -m coop_edu

# Whole files go to one of two processes, in the order of the files, so that the notebooks come last.
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: setup  ## the tests of the library that take seconds: no notebooks, site, browser or other processes
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" tests coop_edu $(PYTEST_FLAGS)

test: setup  ## unit tests, docstring examples and every notebook
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(PYTEST_FLAGS)

lint: setup  ## ruff, on modules and notebooks; types; imports between rooms
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup  ## time and memory against the authors' way; BENCH_FLAGS=--full for every combination
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

outputs: setup  ## run every notebook, store its outputs and the README's figure
	$(BIN)/python scripts/store_outputs.py
	$(BIN)/python scripts/draw_walkthrough.py

learner: setup  ## learner/: the notebooks without outputs and solutions, for a class
	$(BIN)/python scripts/learner_copies.py

$(SITE_READY): $(READY)
	$(BIN)/python -m pip install $(PIP_FLAGS) -e ".[site]"
	touch $(SITE_READY)

$(FROM_NPM): docs/explorer/package-lock.json
	-npm ci --prefix docs/explorer --ignore-scripts --no-audit --no-fund  # without it the site is built, and says what it lacks

site: $(SITE_READY) $(FROM_NPM)  ## site/: the executed course as static pages, with a live explorer, glossary, API and search
	$(BIN)/python scripts/build_site.py

wheel: setup  ## dist/coop_edu-<version>-py3-none-any.whl, with the assets inside
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# The first stage needs a GPU, or a day: its weights are taken from the history of this project, by their content.
FIRST_STAGE := f9dc2565d27e7827f58e6caaf1300f52bf5875a4
ICONIFY := $(BUILD)/node_modules/@iconify/json

miniclip: setup  ## MiniCLIP's text encoder again, from the npm package on: two cores, an hour; into build/text/
	npm install --prefix $(BUILD) --no-audit --no-fund @iconify/json@2.2.535 lucide-static@1.62.0 @tabler/icons@3.52.0 emojibase-data@17.0.0
	$(BIN)/python -m pip install $(PIP_FLAGS) resvg-py
	test -f $(BUILD)/selection.json || $(BIN)/python scripts/build_iconnet.py --package $(ICONIFY) --work $(BUILD)
	git cat-file blob $(FIRST_STAGE) > $(BUILD)/first_stage.safetensors
	$(BIN)/python scripts/pretrain_text.py --package $(ICONIFY) --work $(BUILD) --candidate $(CANDIDATE)

clean:  ## remove what builds and tests left behind (.venv stays)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
