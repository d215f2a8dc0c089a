# callflows: `make demo` shows everything, `make test` proves it. Needs Python 3.11, make and pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo run test simulation test-freeswitch lint sounds bench bench-freeswitch survival lock clean docs-images

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.run sounds ## set up, call in four languages, settle in five ways; leaves var/demo/
	@$(BIN)/callflows demo

run: $(VENV)/.run sounds ## start all embedded parts (then: callflows phone)
	@$(BIN)/callflows run

sounds: $(VENV)/.run ## build every recording that is missing or out of date
	@$(BIN)/callflows sounds build

test: $(VENV)/.dev ## all tests, linters and type checks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pytest -n $(JOBS) --dist loadgroup

simulation: $(VENV)/.dev ## 100,000 premium calls while everything dies; then everything is audited
	@$(BIN)/python -m tests.simulation

test-freeswitch: $(VENV)/.dev ## every call scenario on a real FreeSWITCH (CALLFLOWS_TEST_FREESWITCH or PATH)
	@$(BIN)/pytest -m freeswitch tests/calls

lint: $(VENV)/.dev ## linters and type checks only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(VENV)/.run $(VENV)-bench/.peers sounds ## the figures of docs/performance.md, with the peers in the same run
	@$(BIN)/python -m bench --peers $(VENV)-bench/bin/python

bench-freeswitch: $(VENV)/.dev $(VENV)-bench/.peers ## CPU of a call on a real FreeSWITCH, beside mod_lua and stock greenswitch
	@$(BIN)/python -m bench.freeswitch --peers $(VENV)-bench/bin/python

SEED ?= $(shell od -An -N3 -tu4 /dev/urandom | tr -d ' ')
survival: $(VENV)/.dev ## a thousand calls whose workers are killed -9 (SEED=n replays one set)
	@$(BIN)/python -m bench.survival --runs 1000 --seed $(SEED)

lock: $(VENV)/.dev ## pin the newest allowed versions, with hashes
	@for set in requirements requirements-dev requirements-bench; do \
	  $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url \
	    --no-emit-find-links --python-version 3.11 $$set.in -o $$set.txt; done

clean: ## remove environments and everything written
	rm -rf $(VENV) $(VENV)-bench var build *.egg-info

$(VENV)/.run: requirements.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "callflows needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing (pinned, hashes checked) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "installing what the tests need ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)-bench/.peers: requirements-bench.txt
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@
