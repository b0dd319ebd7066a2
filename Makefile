# Everything one can do here. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
SQL    := sql/migrations/*.sql sql/views/*.sql sql/functions/*.sql sql/source/*.sql sql/*.sql
LOCK   := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help demo test soak check bench format lock clean packages

help: ## list the targets
	@echo "make TARGET [ARGS=\"…\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.ready ## run everything on this machine and watch runs being counted live
	@$(BIN)/meshmetrics demo $(ARGS)

test: $(VENV)/.ready packages ## run all tests (ARGS="-k name" for some)
	$(BIN)/pytest $(ARGS)

soak: $(VENV)/.ready packages ## the fault tests with bigger numbers: for a long while
	MESHMETRICS_TEST_SOAK=1 $(BIN)/pytest tests/faults --timeout=7200 $(ARGS)

check: $(VENV)/.ready ## ruff, mypy --strict, import-linter, SQL lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk $(SQL)

bench: $(VENV)/.ready packages ## measure speeds, as ratios in one run
	$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.ready ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.ready ## resolve the dependencies anew (names, versions, hashes; no addresses)
	$(LOCK) --upgrade --output-file requirements/run.txt pyproject.toml
	$(LOCK) --upgrade --output-file requirements/build.txt --group build
	$(LOCK) --upgrade --output-file requirements/dev.txt --extra local --group dev pyproject.toml

clean: ## remove everything that make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -o -name node_modules | xargs rm -rf

packages:
	@.ci/system-packages

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "meshmetrics needs Python 3.11 or newer, and this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 …")'
	@echo "Setting up $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
