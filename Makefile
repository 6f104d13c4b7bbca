# What can be done here: make help

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INTEGRATIONS := $(patsubst %/pyproject.toml,-e "./%[test]",$(wildcard integrations/*/pyproject.toml))
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test nightly check docs format train-default train-gpu mutants bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# TORCH is installed first, so that one can choose the build: make demo TORCH='torch==2.13.0+cpu --index-url ...'
$(INSTALLED): pyproject.toml $(wildcard integrations/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev]" $(INTEGRATIONS)
	@touch $@

install: $(INSTALLED)  ## Make a virtual environment in .venv and install everything into it

demo: $(INSTALLED)  ## Index four long articles, ask 40 questions, compare naive with late chunking
	$(BIN)/latechunk demo

# One thread for each of the two processes: with two, the threads of tiny models wait for each other, and tests of encoders
# take twice the time of both cores.
test: $(INSTALLED)  ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

nightly: $(INSTALLED)  ## Run the tests with random input for longer: 100,000 inputs, 2,000 steps
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --hypothesis-profile=nightly tests/test_fuzz.py tests/test_states.py tests/test_search_filters.py

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

# How shipped adapters are made; the data are not part of the project. Copy the result into latechunk/trained/MODEL, then
# run benchmarks/context.py and benchmarks/tables.py.
MODEL ?= multilingual-e5-small-q4
ENGLISH := --weight fairytaleqa-train=4 --weight timeqa-human-train=3 --weight medquad-nih=2 --weight qmsum-train=2 \
	--weight cuad-v1=1 --own-document-only cuad-v1
OTHERS := tydiqa-goldp-train jaquad-train-rest piaf-v1.0 arcd-train iapp-thai-train-short cmrc2018-trial-dev
STEPS_all-MiniLM-L6-v2 = --steps 720 --batches 360
SEEDS_all-MiniLM-L6-v2 = 1 2 3
TRAIN_all-MiniLM-L6-v2 = --lookalikes 0.15 --rank 64 --late-weight 0.7 --licence Apache-2.0 \
	$(foreach set,$(OTHERS),--weight $(set)=0)
STEPS_multilingual-e5-small-q4 = --steps 960 --batches 480
TRAIN_multilingual-e5-small-q4 = --lookalikes 0.25 --rank 48 --late-weight 0.6 --index-late-weight 0.5 --anchor 0.05 --licence MIT \
	--weight tydiqa-goldp-train=3 --weight jaquad-train-rest=2 --weight piaf-v1.0=1.5 \
	--weight arcd-train=1 --weight iapp-thai-train-short=1.5 --weight cmrc2018-trial-dev=2

TRAIN = $(BIN)/latechunk train $(DATA) --base $(MODEL) --learning-rate 5e-4 --segment-tokens 255,1022 --keep-nothing \
	$(ENGLISH) $(TRAIN_$(MODEL))
TRAINED := $(or $(OUT),build/$(MODEL))

train-default: $(INSTALLED) $(SEEDS_$(MODEL):%=$(TRAINED)-seed%)  ## Train shipped adapters again; MODEL=name, DATA=folder of training sets
	$(TRAIN) $(STEPS_$(MODEL)) --no-evaluate --out $(TRAINED) --seed 0 $(SEEDS_$(MODEL):%=--average $(TRAINED)-seed%)

$(TRAINED)-seed%: $(INSTALLED)  # of other seeds, to be averaged
	$(TRAIN) $(STEPS_$(MODEL)) --no-evaluate --out $@ --seed $*

# EVAL is a folder of sets to measure with, SEGMENTS how many a step compares: as many as the card takes. Untried: nobody here
# has had a GPU.
train-gpu: $(INSTALLED)  ## Train them on a GPU for 8 minutes; MODEL=name, DATA=folder of the training sets, EVAL=folder
	$(TRAIN) $(if $(EVAL),--evaluate $(EVAL),--no-evaluate) --out $(or $(OUT),build/$(MODEL)-gpu) --device cuda --seed 0 \
		--minutes 8 --batch-segments $(or $(SEGMENTS),32)

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
