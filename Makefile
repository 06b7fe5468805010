# Everything happens in .venv, which each target makes when it is needed. PYTHON says from which Python (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
DATASET := demo/golkar-cranmer-2018

.PHONY: demo test lint bench docs clean

demo: .venv/ready
	$(BIN)/gptex generate $(DATASET) --preset golkar-cranmer-2018
	$(BIN)/gptex preview $(DATASET) -o demo/preview.png

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/ready
	$(BIN)/python docs/cli_reference.py > docs/cli.md

bench: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv demo build dist
