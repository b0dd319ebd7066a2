# Everything one can do here. `make` alone lists the targets.
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
LOCK   := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help demo dashboard test soak check bench format lock clean packages

help: ## list the targets
	@echo "make TARGET [ARGS=\"…\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.ready $(DASH) ## run everything on this machine and watch runs being counted live
	@$(BIN)/meshmetrics demo $(ARGS)

dashboard: $(DASH) ## build the dashboard, which the daemon serves at /

test: $(VENV)/.ready packages $(DASH) ## run all tests (ARGS="-k name" for some)
	@$(BIN)/python -c "from tests.devstack.protocol.javascript import install; install()"
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)
	$(NPM) test

soak: $(VENV)/.ready packages ## the fault tests with bigger numbers: for a long while (SOAK=0.1 for less)
	MESHMETRICS_TEST_SOAK=$(SOAK) $(BIN)/pytest tests/faults --timeout=7200 $(ARGS)

check: $(VENV)/.ready $(DASH) ## ruff, mypy --strict, import-linter, SQL lint; svelte-check, eslint, prettier
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk $(SQL)
	$(NPM) run check
	$(NPM) run lint

bench: $(VENV)/.ready packages $(DASH) ## measure speeds, as ratios in one run
	$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.ready dashboard/node_modules/.package-lock.json ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(NPM) run format

lock: $(VENV)/.ready ## resolve the dependencies anew (names, versions, hashes; no addresses)
	$(LOCK) --upgrade --output-file requirements/run.txt pyproject.toml
	$(LOCK) --upgrade --output-file requirements/build.txt --group build
	$(LOCK) --upgrade --output-file requirements/dev.txt --extra local --group dev pyproject.toml

clean: ## remove everything that make made
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
