# What people type. Each target installs what it needs: uv where there is none, then what uv.lock pins, into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ibgw
OWN_UV := $(CACHE)/uv/bin/uv
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(OWN_UV))
BIN := .venv/bin
SANDBOX := $(BIN)/python -m sandbox.cli
DEPLOY := pulumi up --yes --skip-preview --suppress-outputs --stack paper

# uv trusts what the machine trusts, as apt and pip do (by its new name and by its old one).
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true

.PHONY: help
help:
	@echo 'make sandbox          a whole world to run in, and the stack paper deployed and verified in it'
	@echo 'make sandbox-env      print the environment for: eval "$$(make -s sandbox-env)"'
	@echo 'make sandbox-down     remove all that the sandbox made, and nothing else'
	@echo 'make test             format, lint, types, and all tests but the exhaustive ones'
	@echo 'make test-exhaustive  the long matrices'
	@echo 'make mutants          break the program on purpose: does a test notice?'
	@echo 'make lint, format     check, or rewrite, the sources'

.PHONY: environment
environment: $(filter $(OWN_UV),$(UV))
	@$(UV) sync --frozen --check --quiet >/dev/null 2>&1 \
		|| { echo 'installing what uv.lock names into .venv (up to a minute)' && $(UV) sync --frozen --quiet; }

$(OWN_UV):
	@echo 'installing uv into $(CACHE)/uv (half a minute)'
	@python3 -m venv --clear $(CACHE)/uv >/dev/null 2>&1 \
		|| { apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null \
		&& python3 -m venv --clear $(CACHE)/uv; }
	@$(CACHE)/uv/bin/pip install --quiet --disable-pip-version-check uv

# The environment is read first and only then used: were it empty, pulumi would work on something else than the sandbox.
.PHONY: sandbox
sandbox: environment
	@$(SANDBOX) up
	@environment="$$($(SANDBOX) env)" && eval "$$environment" && echo '$$ $(DEPLOY)' && $(DEPLOY)

.PHONY: sandbox-env
sandbox-env:
	@$(SANDBOX) env

.PHONY: sandbox-down
sandbox-down: environment
	@$(SANDBOX) down

.PHONY: lint
lint: environment
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.PHONY: format
format: environment
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Workers mostly wait, so there may be more than cores; each has a sandbox of its own, and each file stays on one.
# tests/conftest.py puts the files in order.
WORKERS ?= 3
IN_PARALLEL := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: test
test: lint
	$(BIN)/pytest $(IN_PARALLEL) -m 'not exhaustive'

.PHONY: test-exhaustive
test-exhaustive: environment
	$(BIN)/pytest $(IN_PARALLEL) -m exhaustive

.PHONY: mutants
mutants: environment
	$(BIN)/python -m tests.mutants
