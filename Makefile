# How to set up, try, test and check bagscope from a clone: `make help` lists it all.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint check bench docs clean

PYTHON ?= python3
# On Linux the CPU build is asked for by name: the plain name brings gigabytes of CUDA. With a GPU:
# make setup TORCH=torch
ifeq ($(shell uname),Linux)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch
endif
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
# Test files are distributed to as many processes as there are cores, at most four since each needs 2 GB of memory.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile
# Whole only when it names this folder: an environment that was copied or moved from elsewhere is made anew.
STAMP := .venv/.made-for
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv with the versions of constraints.txt (PYTHON=python3.12 names another Python)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "bagscope needs Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 2; }
	@if [ "$$(cat $@ 2>/dev/null)" != "$(CURDIR)" ]; then $(PYTHON) -m venv --clear .venv; fi
	@rm -f $@
	@# From the places pip is set up with, where one has it; else from PyTorch's own.
	@$(BIN)/python -m pip install --quiet -c constraints.txt "$(TORCH)" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet -c constraints.txt "$(TORCH)" --extra-index-url $(TORCH_INDEX)
	@$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[dev,docs]"
	@printf '%s' "$(CURDIR)" > $@

demo: setup  ## simulate a plate, learn from its controls, call every well; prints where the scores are
	$(BIN)/bagscope demo demo --overwrite

test: setup  ## run all tests
	$(PYTEST)

lint: setup  ## check lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint  ## lint, format, types, the rules of the house and the fast tests
	$(PYTEST) -m "not slow and not real"

bench: setup  ## measure speed and memory, as ratios of one run, into benchmarks/results.csv
	$(BIN)/python -m benchmarks

docs: setup  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

clean:  ## remove the environment and everything that was built
	rm -rf .venv site build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
