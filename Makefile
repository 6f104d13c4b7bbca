# What can be done here: make help

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INTEGRATIONS := $(patsubst %/pyproject.toml,-e "./%[test]",$(wildcard integrations/*/pyproject.toml))
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test nightly check docs format train-default mutants bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

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

nightly: $(INSTALLED)  ## Run the tests with random input for longer: 100,000 inputs, 2,000 steps
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=nightly tests/test_fuzz.py tests/test_states.py tests/test_search_filters.py

# Hours. The last line counts what was killed (a face with a mask) and what survived; `mutmut results` names the latter.
mutants: $(INSTALLED)  ## Change search, ann and indexing in one place at a time; show the changes that no test notices
	$(BIN)/python -m pip install --quiet -e ".[mutants]"
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH= OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

check: $(INSTALLED)  ## Check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## Build the documentation into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED)  ## Format, and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the default's adapters were trained on and how; the data are not part of the project. Languages that the base model
# does not know are left out. Those that ship were made so at commit 4d4844a, before the loss had a term for documents. Copy the result into latechunk/trained/all-MiniLM-L6-v2, then run benchmarks/tables.py.
train-default: $(INSTALLED)  ## Train the default model's adapters again; DATA=folder of the training sets
	$(BIN)/latechunk train $(DATA) --base all-MiniLM-L6-v2 --out $(or $(OUT),build/all-MiniLM-L6-v2) --seed 0 \
		--steps 500 --rank 64 --learning-rate 3e-4 --late-weight 0.7 --index-late-weight 0.5 --no-evaluate --licence Apache-2.0 --keep-nothing \
		--weight fairytaleqa-train=4 --weight timeqa-human-train=3 --weight medquad-nih=2 --weight qmsum-train=2 \
		--weight cuad-v1=1 --own-document-only cuad-v1 --weight tydiqa-goldp-train=0 --weight jaquad-train-rest=0 \
		--weight piaf-v1.0=0 --weight arcd-train=0 --weight iapp-thai-train-short=0 --weight cmrc2018-trial-dev=0

bench: $(INSTALLED)  ## Run the benchmarks; DATA=folder with docs.jsonl and queries.jsonl for those that need it
	$(if $(DATA),$(BIN)/latechunk evaluate $(DATA) --out build/evaluation,@echo "no DATA=folder: evaluation left out")
	$(BIN)/python benchmarks/encode.py --data $(or $(DATA),latechunk/demo/data)
	$(BIN)/python benchmarks/jina.py
	$(BIN)/python benchmarks/jina_bert.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/readers.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/adapters.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/structure.py
	$(BIN)/python benchmarks/context_speed.py
	$(BIN)/python benchmarks/serving.py

clean:  ## Remove the virtual environment and what tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
