# On a machine with Python 3.11 or newer, a compiler and a package registry, each target makes .venv, installs, and works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(INSTALLED)  ## train, convert, simulate and verify a network on the embedded digits
	$(BIN)/isospike run digits --out runs/digits

test: $(INSTALLED)  ## run the tests
	$(BIN)/python -m pytest

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:  ## remove the environment and what runs left
	rm -rf $(VENV) runs
