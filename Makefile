# Every target makes what it needs: `make run` works on a fresh clone with Python 3.11+, make and a C++ compiler.

PYTHON ?= python3
BIN := .venv/bin
# Tests mostly wait for processes; those that do little else, and those that measure time, run after the others. Each runs once.
TESTS_AT_A_TIME ?= 4
# `make test SHUFFLE=--shuffle` runs them in a random order; the seed it prints repeats that: SHUFFLE="--shuffle SEED".
SHUFFLE ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Where somebody has this set, each of the hundreds of processes of the tests compiles the project anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run demo test fuzz bench bench-polling chaos chaos-random attack soak lint format lock install install-dev wheel container-test services clean help

help:
	@echo "make run    everything in one process, on a simulated EVE; web page on http://127.0.0.1:8080"
	@echo "make demo   the same, ends by itself with a summary"
	@echo "make test   lint, types and all tests (needs or starts PostgreSQL and RabbitMQ)"
	@echo "make bench  the benchmarks"
	@echo "make chaos  every fault on real processes; writes the table of docs/reliability.md"
	@echo "make chaos-random  several faults at once at random moments (MINUTES=10, SEED=...)"
	@echo "make attack every attack on real processes; writes the table of docs/security.md"
	@echo "make wheel  Killsync as wheels in dist/, web assets included"
	@echo "make container-test  builds the image, runs compose.yaml and logs in (needs a Docker engine)"
	@echo "make soak   half an hour without faults: memory, connections, queues"

run: install
	@$(BIN)/killsync run

demo: install
	@$(BIN)/killsync demo

test: lint services
	$(BIN)/python -m pytest -n $(TESTS_AT_A_TIME) --dist worksteal -m "not slow and not waits" $(SHUFFLE)
	$(BIN)/python -m pytest -n 2 --dist load -m waits $(SHUFFLE)
	$(BIN)/python -m pytest -m slow $(SHUFFLE)

fuzz: install-dev services
	$(BIN)/python -m tests.support.fuzz

bench: install-dev services
	$(BIN)/python -m bench

chaos: install-dev
	$(BIN)/python -m tests.chaos

MINUTES ?= 10
chaos-random: install-dev
	$(BIN)/python -m tests.chaos --random --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
attack: install-dev services
	$(BIN)/python -m tests.attack

soak: install-dev
	$(BIN)/python -m tests.chaos --soak 30

container-test: install-dev
	$(BIN)/python -m tests.container

bench-polling: install-dev
	$(BIN)/python -m bench polling

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-cache

format: install-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

services:
	@bash scripts/services.sh
	@bash scripts/browser.sh

install: .venv/installed
install-dev: .venv/installed-dev

build/tools/installed: requirements/build.lock scripts/install.sh
	@bash scripts/install.sh tools "$(PYTHON)"

# What runs elsewhere: Killsync with its web assets, and the GraphQL parser compiled for this kind of machine.
wheel: build/tools/installed
	@bash scripts/install.sh wheel

.venv/installed: build/tools/installed requirements/runtime.lock pyproject.toml killsync/web/assets/libraries.json
	@bash scripts/install.sh runtime

.venv/installed-dev: build/tools/installed requirements/dev.lock pyproject.toml killsync/web/assets/libraries.json
	@bash scripts/install.sh dev

# Resolve the pinned versions anew (needs uv). Locks carry hashes and name no index.
lock:
	uv pip compile requirements/build.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q -o requirements/build.lock
	uv pip compile requirements/assets.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q -o requirements/assets.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q -o requirements/runtime.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q -c requirements/runtime.lock -o requirements/dev.lock

clean:
	rm -rf .venv data build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
