# make demo — the whole journey on real data.   make test — everything that must hold.   make check — the fast part.
# Each makes its own virtual environment from requirements.lock and installs what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo lab test check bench lock clean

VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Most of a test is waiting for clocks and processes; a file of tests stays together, so that it makes its area once.
TESTS := $(PY) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml setup.py scripts/setup.sh
	@scripts/setup.sh $(VENV)

demo: $(READY) ## the whole journey on real data, headless
	@$(PY) -m tre.demo

lab: $(READY) ## JupyterLab for the demonstration's researcher
	@test -f .demo/tokens.json || $(PY) -m tre.demo
	@# The files of JupyterLab's extension are copied when the package is installed: again, in case they have changed.
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --reinstall --no-cache -e .
	@$(PY) -m tre.demo --lab

check: $(READY) ## format, lint, types, contracts and the fast tests: under two minutes
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(TESTS) -q -m "not slow"

test: $(READY) ## everything: check's parts, and the slow tests with real processes
	@VENV=$(VENV) scripts/setup.sh --for-tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(TESTS)

bench: $(READY) ## figures, as ratios of two things run side by side
	@$(PY) -m bench

lock: ## resolve the dependencies anew
	@scripts/lock.sh

clean:
	rm -rf $(VENV) .demo build *.egg-info
