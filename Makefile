# `make demo` and `make test` do all the set-up on a fresh Debian machine with Python 3.11 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SHELL  := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help demo test test-long check format lint types layers bench verifier clean

help: ## Show what can be made.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.dev: pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) bash tools/setup.sh dev
	@touch $@

$(VENV)/.demo: pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) bash tools/setup.sh demo
	@touch $@

demo: $(VENV)/.demo ## Install, and show the main job on real servers (under a minute once installed).
	@$(BIN)/python -m examples.demo

test: $(VENV)/.dev ## All tests that run in minutes.
	@$(BIN)/python -m pytest -m "not long" -n 2 --dist loadgroup

test-long: $(VENV)/.dev ## All tests, the long ones too, and ten times as many generated cases (REMIT_FUZZ).
	@REMIT_FUZZ=$${REMIT_FUZZ:-10} $(BIN)/python -m pytest -n 2 --dist loadgroup --timeout 1800

check: $(VENV)/.dev ## Format, lint, strict types, layers and tests.
	@$(BIN)/ruff format --check src tests bench examples tools
	@$(BIN)/ruff check src tests bench examples tools
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: $(VENV)/.dev ## Format the code.
	@$(BIN)/ruff format src tests bench examples tools
	@$(BIN)/ruff check --fix src tests bench examples tools

bench: $(VENV)/.dev ## Measure: decide, gateway, record, http, replicas, ledger, engine, temporal, load.
	@for name in decide gateway record http replicas ledger engine temporal load; do $(BIN)/python -m bench $$name || exit 1; done

verifier: ## Build the verifier in one file, dist/remit-verify.pyz; prints its SHA-256.
	@$(PYTHON) tools/standalone/build.py

clean: ## Remove what was installed and made.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis node_modules
