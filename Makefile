# Every target makes .venv first if it is missing: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
SOURCES := rgbd3d conversion tests benchmarks
ZOO_PAGES := README.md docs/zoo.md docs/datasets.md

.PHONY: help install demo test test-slow lint docs results zoo clean

help:
	@echo 'make demo [FRAMES=dir]  look at the bundled checkpoint, train it on, write a report (about 5 minutes)'
	@echo 'make test               lint, types, docs and the fast tests'
	@echo 'make test-slow          the slow tests too'
	@echo 'make docs               build the documentation into site/'
	@echo 'make zoo                refresh the tables in README.md and docs/ from cards and catalogue'
	@echo 'make results            refresh the tables and the picture of docs/results.md from docs/results/'
	@echo 'make clean              remove what was built; keeps .venv and runs/'

install: $(STAMP)

# torch and torchvision come first and alone: resolved together with the rest, pip may take another pair.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rgbd3d needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/rgbd3d demo $(if $(FRAMES),--frames '$(FRAMES)')

lint: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: lint docs
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: lint docs
	$(BIN)/python -m pytest -n 2 --dist loadfile -m ''

results: $(STAMP)
	$(BIN)/python benchmarks/results_page.py

zoo: $(STAMP)
	$(BIN)/python -m rgbd3d.zoo $(ZOO_PAGES)

clean:
	rm -rf build dist site .pytest_cache .ruff_cache .mypy_cache *.egg-info
