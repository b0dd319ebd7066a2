# Every command of this repository. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
SOAK   ?= 1
SQL    := sql/migrations/*.sql sql/functions/*/*.sql sql/source/*.sql sql/*.sql
DASH   := meshmetrics/_dashboard/index.html
NPM    := .ci/npm
# Files in the order of tests/conftest.py: slow ones first, so that no worker idles at the end.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
LOCK   := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help demo dev dashboard generate test test-fast soak check bench format lock clean packages

help: ## list the commands
	@echo "make TARGET [ARGS=\"…\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.ready $(DASH) ## run the whole stack on this machine with simulated workflows
	@$(BIN)/meshmetrics demo $(ARGS)

dev: $(VENV)/.ready dashboard/node_modules/.package-lock.json ## run the demo's stack and reload it on each edit
	@$(BIN)/python -m meshmetrics.devstack.dev $(ARGS)

dashboard: $(DASH) ## build the dashboard, which the daemon serves at /

generate: $(VENV)/.ready dashboard/node_modules/.package-lock.json ## write every generated file: API schemas, tables in the docs, SQL release, privileges
	MESHMETRICS_TEST_WRITE_GOLDEN=1 $(BIN)/pytest --quiet -m "generates and not slow" \
	  tests/test_docs.py tests/api/test_openapi.py tests/alerts/test_golden.py tests/sql/test_catalogue.py \
	  tests/sql/test_migrate.py
	$(NPM) run --silent api

test: $(VENV)/.ready packages $(DASH) ## run all tests (ARGS="-k name" for some)
	@$(BIN)/python -c "from tests.devstack.protocol.javascript import install; install()"
	$(PYTEST) $(ARGS)
	$(NPM) test

test-fast: $(VENV)/.ready ## run the tests that need no browser, no demo and one Postgres version
	$(PYTEST) -m "not slow" $(ARGS)

soak: $(VENV)/.ready packages ## run the fault tests at full size, which takes hours (SOAK=0.1: a tenth)
	MESHMETRICS_TEST_SOAK=$(SOAK) $(BIN)/pytest tests/faults --timeout=7200 $(ARGS)

check: $(VENV)/.ready $(DASH) ## lint and type-check Python, SQL and the dashboard
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk $(SQL)
	$(NPM) run check
	$(NPM) run lint

bench: $(VENV)/.ready packages $(DASH) ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.ready dashboard/node_modules/.package-lock.json ## fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(NPM) run format

lock: $(VENV)/.ready ## upgrade and lock the Python dependencies
	$(LOCK) --upgrade --output-file requirements/run.txt pyproject.toml
	$(LOCK) --upgrade --output-file requirements/build.txt --group build
	$(LOCK) --upgrade --output-file requirements/dev.txt --extra local --group dev pyproject.toml

clean: ## remove everything that make created
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist meshmetrics/_dashboard dashboard/.svelte-kit
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

dashboard/node_modules/.package-lock.json: dashboard/package-lock.json $(VENV)/.ready
	@$(NPM) ci
	@touch $@

$(DASH): dashboard/node_modules/.package-lock.json $(shell find dashboard/src dashboard/static -type f) dashboard/vite.config.ts
	@echo "Building the dashboard"
	@$(NPM) run --silent build
	@touch $@
