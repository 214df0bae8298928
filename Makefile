# `make help` says what there is. Needs Python >= 3.11 and make; everything else goes into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CODE    = $(wildcard s3queue s3queue_admin tests benchmarks examples notebooks)

# Options of the commands below: make demo STORE=file; make test ARGS="-m slow"; make bench ARGS="--workers 2"
STORE ?=
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help demo tui test lint format bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo ## the whole thing at work: 2,000 messages, three workers, one killed (STORE=file: without a server)
	$(BIN)/s3queue demo $(if $(STORE),--store $(STORE)) $(ARGS)

tui: $(VENV)/.tui ## the dashboard, on a bucket made up for it (ARGS="--serve 8000": in a browser)
	$(BIN)/s3queue-admin tui --demo --write $(ARGS)

test: $(VENV)/.dev ## the tests (ARGS="-m slow": the long ones)
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## rates and requests a message against a local server with 20 ms latency
	$(BIN)/python -m benchmarks.drain $(or $(ARGS),--workers 4 --latency-ms 20)

clean: ## remove the environment and every cache
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. The stamps make a second call quick; a change of pyproject.toml installs again.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "s3queue needs Python >= 3.11, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 || true)"; \
	  echo "Name another one: make PYTHON=python3.12"; exit 1; } >&2
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing s3queue and the demo's S3 server"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.tui: pyproject.toml | $(BIN)/python
	@echo "Installing s3queue and its dashboard"
	@$(PIP) --editable '.[web]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing s3queue and the tools of its developers (some 300 MB, a minute or two)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.tui
