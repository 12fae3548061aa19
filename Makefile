# Two commands are all a new user needs: `make demo` and `make test`. Both set everything up by themselves.
# Wanted on the machine: make and Python 3.11 or newer with its venv module.

PYTHON  ?= python3
WORKERS ?= 2

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One lock for every platform and every Python that is allowed; a hash for each file that may be installed.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
# What builds the package, one requirement per line.
BUILD_NEEDS := $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types docs locks bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.for-demo  ## Scores, a simulated study and a report on photos that ship with scikit-image and scikit-learn
	$(BIN)/evalkit demo --out demo

# pytest runs last: its closing lines say, in one line each, what was absent and how many tests were skipped for it.
test: lint types docs  ## Lint, check types, build the docs with warnings as errors, run all tests
	$(BIN)/python -m pytest -r fER -p tests.absences -p tests.kernel_cache --numprocesses $(WORKERS)

lint: $(VENV)/.for-test  ## Check style and formatting (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.for-test  ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.for-test  ## Check types (mypy --strict on the packages)
	$(BIN)/mypy

docs: $(VENV)/.for-test  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs docs/_build/html

locks: | $(BIN)/python  ## Write the lock files anew, with the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	$(BUILD_NEEDS) | $(LOCK) --extra test --extra docs --extra report --extra study --output-file .ci/test.lock pyproject.toml -
	$(BUILD_NEEDS) | $(LOCK) --extra study --output-file deploy/study.lock pyproject.toml -

bench: $(VENV)/.for-test  ## Measure speed and memory side by side, write the tables for the docs
	$(BIN)/python -m benchmarks

clean:  ## Remove everything that make made
	rm -rf $(VENV) build dist demo docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: again only when the needs change ---------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "evalkit needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.for-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV) (the first time this downloads packages for a minute or two) ..."
	$(PIP) --editable ".[demo]"
	@touch $@

# First what the lock file holds, file by file the same everywhere; then PyTorch, whose builds differ from machine to machine.
$(VENV)/.for-test: pyproject.toml constraints.txt .ci/test.lock | $(BIN)/python
	@echo "Setting up $(VENV) (the first time this downloads packages for a few minutes) ..."
	$(PIP) --require-hashes --requirement .ci/test.lock
	$(PIP) --editable ".[test,docs,report,networks,study,training-test,cluster-test]"
	@touch $@
