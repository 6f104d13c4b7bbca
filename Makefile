# What can be done here: make help

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INTEGRATIONS := $(patsubst %/pyproject.toml,-e "./%[test]",$(wildcard integrations/*/pyproject.toml))
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test nightly check format bench clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# TORCH is installed first, so that one can choose the build: make demo TORCH='torch==2.13.0+cpu --index-url ...'
$(INSTALLED): pyproject.toml $(wildcard integrations/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev]" $(INTEGRATIONS)
	@touch $@

install: $(INSTALLED)  ## Make a virtual environment in .venv and install everything into it

demo: $(INSTALLED)  ## Index three long articles, ask 30 questions, compare naive with late chunking
	$(BIN)/latechunk demo

test: $(INSTALLED)  ## Run the tests
	$(BIN)/python -m pytest -n 2

nightly: $(INSTALLED)  ## Run the tests that draw their input at random for longer: 100,000 inputs, 2,000 steps
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=nightly tests/test_fuzz.py tests/test_states.py tests/test_filters.py

check: $(INSTALLED)  ## Check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## Format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)  ## Run the benchmarks; DATA=folder with docs.jsonl and queries.jsonl for those that need it
	$(if $(DATA),$(BIN)/latechunk evaluate $(DATA) --out build/evaluation,@echo "no DATA=folder: evaluation left out")
	$(BIN)/python benchmarks/encode.py --data $(or $(DATA),latechunk/demo/data)
	$(BIN)/python benchmarks/jina.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/adapters.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/context_speed.py

clean:  ## Remove the virtual environment and what tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
