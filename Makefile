# Every target installs what it needs. ARGS="key=value ..." goes to the command:
#   make train ARGS="model=tiny schedule.max_steps=100"
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= >=3.10,<3.14
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# uv from the path, else one of our own inside .venv-uv: nothing outside this folder is changed
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)

# Where Python may not write bytecode, as in many containers, `import torch` compiles 1,000 files at
# every start, 2 s of 3.6. Inside this folder it may.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install data train inference serve evaluate plan verify bench test lint format lock clean

help: ## print this list
	@echo "make TARGET [ARGS=\"key=value ...\"]"
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv from the hashed lock file

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/pip install --quiet --disable-pip-version-check uv

$(INSTALLED): requirements.lock pyproject.toml | $(filter .venv-uv/bin/uv,$(UV))
	@echo "installing into $(VENV) (once; about 3 GB with torch's CUDA libraries on Linux)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	$(BIN)/python -c "import gpt_pipeline.cli.train, gpt_pipeline.cli.inference"  # writes its bytecode
	@touch $@

data: $(INSTALLED) ## prepare the token files of the configured data set
	@$(BIN)/gpt-pipeline data $(ARGS)

train: $(INSTALLED) ## everything: data, training, plots, a sample story; resumes an unfinished run
	@$(BIN)/gpt-pipeline train $(ARGS)

inference: $(INSTALLED) ## generate from the newest checkpoint
	@$(BIN)/gpt-pipeline inference $(ARGS)

serve: $(INSTALLED) ## a page to play with the newest checkpoint, and OpenAI's Completions API
	@$(BIN)/gpt-pipeline serve $(ARGS)

evaluate: $(INSTALLED) ## measure a checkpoint over every validation token
	@$(BIN)/gpt-pipeline evaluate $(ARGS)

plan: $(INSTALLED) ## what a run will take before it starts: memory, disk, time
	@$(BIN)/gpt-pipeline plan $(ARGS)

verify: $(INSTALLED) ## check bundles, token files and run folders for damage
	@$(BIN)/gpt-pipeline verify $(ARGS)

bench: $(INSTALLED) ## a measurement of bench/, by name: ARGS=stories
	@$(BIN)/python bench/$(firstword $(ARGS)).py $(wordlist 2,99,$(ARGS))

test: $(INSTALLED) ## run the tests; ARGS goes to pytest
	@$(BIN)/pytest $(ARGS)

lint: $(INSTALLED) ## ruff and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(INSTALLED) ## put the code into ruff's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(INSTALLED) ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.10 --all-extras \
		--upgrade pyproject.toml -o requirements.lock

clean: ## remove what was built (.venv, caches, token files, run folders); never a checkpoint
	rm -rf $(VENV) .venv-uv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist data outputs
	find . -name __pycache__ -type d -not -path './checkpoints/*' -prune -exec rm -rf {} +
