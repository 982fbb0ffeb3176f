.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help setup demo test check lint types layers fix model addon wheel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## create .venv with everything; install what the tests need where we may
	@PYTHON=$(PYTHON) sh scripts/setup.sh all

demo: ## set up what is needed and watch it work on an embedded mailbox (ARGS=--once for a short run)
	@PYTHON=$(PYTHON) sh scripts/setup.sh demo
	@$(BIN)/python -m spamd.demo $(ARGS)

test: setup ## set up everything and run all tests
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: lint types layers ## lint, types and layers

lint: ## ruff and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: ## mypy for Linux, macOS and Windows
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin spamd/service spamd/tray spamd/paths.py spamd/upgrade.py
	$(BIN)/mypy --platform win32 spamd/service spamd/tray spamd/paths.py spamd/upgrade.py

layers: ## which room may import which
	$(BIN)/lint-imports

fix: ## format and mend what can be mended, renew the README's table of settings
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -c "from pathlib import Path; from spamd.settings import with_table as t; p = Path('README.md'); p.write_text(t(p.read_text()))"

model: ## rebuild the base model from the corpora (CORPORA=folder)
	$(BIN)/python scripts/build_model.py $(if $(CORPORA),--corpora $(CORPORA))

addon: ## pack the Thunderbird add-on
	$(BIN)/python scripts/package_addon.py

wheel: ## build wheel and sdist
	@PYTHON=$(PYTHON) sh scripts/setup.sh demo
	@$(BIN)/python -c "import build.__main__" 2>/dev/null || $(BIN)/python -m pip install --quiet --quiet "build>=1.2"
	@$(BIN)/python -m build

clean: ## remove what was made
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
