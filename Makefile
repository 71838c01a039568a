# What people type. Each target installs what it needs: the uv that is pinned, then what uv.lock pins, into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ibgw
UV_PIN := .ci/requirements-uv.txt
UV := $(CACHE)/uv/bin/uv
BIN := .venv/bin
SANDBOX := $(BIN)/python -m sandbox.cli
TOOLCHAIN := $(BIN)/python -m sandbox.toolchain

# Before what may be silent for long: a line each 10 s, until the recipe's end.
ALIVE := SECONDS=0; { while sleep 10 >/dev/null 2>&1; do echo "still at work ($$SECONDS s)"; done & } && trap "kill $$!" EXIT;

# uv trusts what the machine trusts, as apt and pip do (by its new name and by its old one).
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true

.PHONY: help
help:
	@echo 'make sandbox          all that a stack needs to run, and the stack paper deployed and verified in it'
	@echo 'make sandbox-env      print the environment for: eval "$$(make -s sandbox-env)"'
	@echo 'make sandbox-down     remove all that the sandbox made, and nothing else'
	@echo 'make test             format, lint, types, and all tests but the exhaustive ones'
	@echo 'make test-exhaustive  the long matrices'
	@echo 'make mutants          break the program on purpose: does a test notice?'
	@echo 'make lint, format     check, or rewrite, the sources'
	@echo 'make reference        write what is generated anew: pages of docs/, schemas, the rules in monitoring/rendered'
	@echo 'make diagrams         draw docs/images anew, out of docs/diagrams (needs Graphviz)'
	@echo 'make workflows        check .github/workflows: a part of lint'
	@echo 'make previews         what this tree would do to both stacks of the sandbox, policies checked'
	@echo 'make plan STACK=...   what it would do to a real stack; FORMAT=markdown for a pull request'
	@echo 'make drift STACK=...  what was changed on a real stack behind its back'
	@echo 'make release          what runs verified on paper, recorded as a release for live; deploys nothing'
	@echo 'make tools            print the folders of the official Pulumi tools, installed if need be'

.PHONY: environment
environment: uv
	@$(UV) sync --frozen --check --quiet >/dev/null 2>&1 \
		|| { echo 'installing what uv.lock names into .venv (up to a minute)'; $(ALIVE) $(UV) sync --frozen --quiet; }

# Not the one on PATH, which may be any: it installs everything else, also where a job holds an identity.
.PHONY: uv
uv:
	@grep -qF "uv==$$($(UV) --version 2>/dev/null | cut -d ' ' -f 2) " $(UV_PIN) || { \
		echo 'installing uv into $(CACHE)/uv (half a minute)'; $(ALIVE) \
		python3 -m venv --clear $(CACHE)/uv >/dev/null 2>&1 \
		|| { apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null \
		&& python3 -m venv --clear $(CACHE)/uv; }; \
		$(CACHE)/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(UV_PIN); }

.PHONY: sandbox
sandbox: environment
	@$(SANDBOX) up --deploy paper

# What fails prints `false`, for `eval` to fail as well: of nothing it makes a success.
.PHONY: sandbox-env
sandbox-env:
	@$(SANDBOX) env || { echo false; exit 1; }

.PHONY: sandbox-down
sandbox-down: environment
	@$(SANDBOX) down

# What a pull request does to both stacks, as a reviewer reads it. Against what runs in the sandbox, if there is one:
# `make sandbox` before the change, `make previews` after it.
PLANS := .ibgw/plans

.PHONY: previews
previews: environment
	@$(SANDBOX) up
	@mkdir -p $(PLANS)
	@environment="$$($(SANDBOX) env)" && eval "$$environment" && for stack in paper live; do \
		$(BIN)/ibgw plan --stack $$stack --format markdown >$(PLANS)/$$stack.md || exit; cat $(PLANS)/$$stack.md; \
	done

# On real stacks: with the backend and the identity of whoever calls, and the official tools on PATH.
FORMAT ?= human
WITH_POLICIES := PULUMI_OPTION_POLICY_PACK="$(CURDIR)/infra/policy"
NAMED = $(if $(STACK),,$(error name a stack: make $@ STACK=paper))

# Before whatever shows something of a real stack to others.
.PHONY: no-debugging
no-debugging: environment
	@$(BIN)/python -m operations.engine_debugging

.PHONY: reference
reference: environment
	@$(BIN)/python -m operations.reference .
	@$(BIN)/python -m monitoring .

# The last line names what an image was drawn from, so that a test without Graphviz knows whether it is current.
.PHONY: diagrams
diagrams:
	@command -v dot >/dev/null || { echo 'dot is missing: apt-get install graphviz'; exit 1; }
	@mkdir -p docs/images
	@for source in docs/diagrams/*.dot; do \
		image=docs/images/$$(basename $$source .dot).svg; \
		{ dot -Tsvg $$source; echo "<!-- $$(sha256sum $$source) -->"; } >$$image; \
	done

.PHONY: plan
plan: no-debugging
	$(NAMED)@$(WITH_POLICIES) $(BIN)/ibgw plan --stack $(STACK) --format $(FORMAT)

.PHONY: drift
drift: no-debugging
	$(NAMED)@$(BIN)/ibgw drift --stack $(STACK)

.PHONY: release
release: no-debugging
	@$(WITH_POLICIES) $(BIN)/ibgw promote --from paper --to live --prepare

.PHONY: tools
tools: environment
	@$(TOOLCHAIN) official

.PHONY: lint
lint: environment workflows
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# Offline. Without shellcheck and pyflakes, which actionlint would use only where it finds them.
WORKFLOWS := .github/workflows

.PHONY: workflows
workflows: environment
	@actionlint="$$($(TOOLCHAIN) actionlint)" && set -x && "$$actionlint" -shellcheck= -pyflakes= $(WORKFLOWS)/*.yml
	$(BIN)/zizmor --offline --strict-collection --persona pedantic --no-progress --quiet $(WORKFLOWS)

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
