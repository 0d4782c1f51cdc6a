# Every target installs what it needs. ARGS="key=value ..." goes to the command:
#   make train ARGS="model=tiny schedule.max_steps=100"
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= >=3.10,<3.14
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
# uv from the path, else one of our own inside .venv-uv: nothing outside this folder is changed
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)

# Where Python may not write bytecode, as in many containers, `import torch` compiles 1,000 files at
# every start, 2 s of 3.6. Inside this folder it may.
unexport PYTHONDONTWRITEBYTECODE

# TORCH=cpu takes torch from TORCH_INDEX, a package index or a folder that has a CPU build, and leaves
# out what only the CUDA build needs. The stamp of the installation keeps the choice.
CHOSEN := $(shell cat $(INSTALLED) 2>/dev/null)
TORCH ?= $(or $(firstword $(CHOSEN)),locked)
ifeq ($(TORCH),cpu)
TORCH_INDEX ?= $(wordlist 2,99,$(CHOSEN))
IS_FOLDER := $(shell test -d "$(TORCH_INDEX)" && echo yes)
TORCH_FROM := $(if $(IS_FOLDER),--no-index --find-links,--default-index)
CHOICE := cpu $(TORCH_INDEX)
ORIGIN := from TORCH_INDEX, its hash not checked; the rest from requirements.lock
NEEDED := awk '/^[a-z0-9]/ {needed = !/^(torch==|triton|nvidia-|cuda-)/} needed'
else ifeq ($(TORCH),locked)
CHOICE := locked
ORIGIN := from requirements.lock
NEEDED := cat
else
$(error TORCH must be cpu or locked; got $(TORCH))
endif

.PHONY: help install install-dev data train inference serve evaluate plan verify bench test lint format docs lock clean

help: ## print this list
	@echo "make TARGET [ARGS=\"key=value ...\"]"
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv from requirements.lock; TORCH=cpu TORCH_INDEX=... without CUDA

install-dev: $(INSTALLED_DEV) ## add what tests, lint and bench need, from requirements-dev.lock

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/pip install --quiet --disable-pip-version-check uv

# These only add: neither lock file removes what the other one installed.
UV_INSTALL = $(UV) pip install --quiet --python $(BIN)/python --no-deps
install_lock = $(NEEDED) $(1) | $(UV_INSTALL) --require-hashes -r -
CHECK = found=$$($(UV) pip check --python $(BIN)/python 2>&1) || { echo "$$found" >&2; exit 1; }

ifneq ($(CHOICE),$(CHOSEN))
$(INSTALLED): FORCE
REINSTALL := $(if $(wildcard $(BIN)/python),--reinstall-package torch)   # 2.15.0+cpu would pass for 2.15.0
endif

FORCE:

$(INSTALLED): requirements.lock pyproject.toml | $(filter .venv-uv/bin/uv,$(UV))
ifeq ($(TORCH)$(IS_FOLDER)$(findstring ://,$(TORCH_INDEX)),cpu)
	@echo "error: TORCH=cpu needs TORCH_INDEX=..., the URL of a package index or a folder that has a" \
	  "CPU build of torch; got '$(TORCH_INDEX)'" >&2; exit 1
endif
	@echo "installing into $(VENV)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	@echo "$(CHOICE)" > $@ && touch -t 200001010000 $@   # older than the lock until all is there
ifeq ($(TORCH),cpu)
	@sed -n 's/^torch==\(.*\) \\$$/torch<=\1/p' requirements.lock > $(VENV)/torch.txt
	@$(UV_INSTALL) $(REINSTALL) $(TORCH_FROM) "$(TORCH_INDEX)" -r $(VENV)/torch.txt
	@$(BIN)/python -c "from importlib.metadata import requires, version; \
	  any('nvidia' in line for line in requires('torch')) and exit( \
	  'error: TORCH_INDEX must have a CPU build of torch; got ' + version('torch'))"
	@awk -F= '/^(triton|nvidia-|cuda-)/ {print $$1}' requirements.lock | sort -u > $(VENV)/cuda.txt
	@$(UV) pip uninstall --quiet --python $(BIN)/python -r $(VENV)/cuda.txt
	@$(call install_lock,requirements.lock)
else
	@$(call install_lock,requirements.lock) $(REINSTALL)
endif
	@$(UV_INSTALL) --build-constraints requirements-dev.lock -e .
	@$(CHECK)
	@torch=$$($(BIN)/python -c "import gpt_pipeline.cli.train, gpt_pipeline.cli.inference, torch; \
	  print(torch.__version__)") && \
	echo "$(VENV) has $$(du -sh $(VENV) | cut -f1): torch $$torch $(ORIGIN)"
	@touch $@

$(INSTALLED_DEV): requirements-dev.lock $(INSTALLED)
	@$(call install_lock,requirements-dev.lock)
	@$(CHECK)
	@echo "$(VENV) has $$(du -sh $(VENV) | cut -f1) with what tests, lint and bench need"
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

verify: $(INSTALLED) ## check checkpoints, token files and run folders for damage
	@$(BIN)/gpt-pipeline verify $(ARGS)

bench: $(INSTALLED_DEV) ## a measurement of bench/, by name: ARGS=stories
	@$(BIN)/python bench/$(firstword $(ARGS)).py $(wordlist 2,99,$(ARGS))

# A file's tests stay in one process, which starts its servers and trains its models once.
test: $(INSTALLED_DEV) ## run the tests; ARGS goes to pytest
	@$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile $(ARGS)

docs: $(INSTALLED) ## write the generated tables of docs/configuration.md
	@$(BIN)/python tools/configuration_tables.py

lint: $(INSTALLED_DEV) ## ruff and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(INSTALLED_DEV) ## put the code into ruff's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

LOCK = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.10 $(ARGS)

lock: | $(filter .venv-uv/bin/uv,$(UV)) ## bring the lock files in line with pyproject.toml; ARGS=--upgrade
	$(LOCK) --all-extras pyproject.toml -o requirements-dev.lock
	$(LOCK) --extra all --constraint requirements-dev.lock pyproject.toml -o requirements.lock

clean: ## remove what was built (.venv, caches, token files, run folders); never a checkpoint
	rm -rf $(VENV) .venv-uv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist data outputs
	find . -name __pycache__ -type d -not -path './checkpoints/*' -prune -exec rm -rf {} +
