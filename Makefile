# Everything here runs from .venv, which `make setup` fills from the lock. ARGS reaches the command behind a target.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ASSETS := src/keytrail/web/static/vendor/htmx.LICENSE
CLICKHOUSE := tests/cluster/clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
PROTO := src/keytrail/collect/analytics.proto
ARGS ?=

.PHONY: help setup clickhouse demo test test-long lint format bench lock proto wheel clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv from the lock and install what the system lacks
	@scripts/setup-system $(VENV)
	@$(MAKE) --silent $(STAMP) $(ASSETS)

$(STAMP): requirements.lock pyproject.toml
	@echo "Installing the locked packages and keytrail itself into $(VENV)."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(ASSETS): package-lock.json scripts/fetch-assets scripts/npm | $(STAMP)
	@scripts/fetch-assets $(VENV)
	@touch $@

# Only what runs the server needs it, so `make demo` does not wait for it.
clickhouse: setup
	@$(MAKE) --silent $(CLICKHOUSE)

$(CLICKHOUSE): tests/cluster/clickhouse/package-lock.json scripts/fetch-clickhouse scripts/npm | $(STAMP)
	@scripts/fetch-clickhouse $(VENV)

demo: setup ## Run keytrail with made-up gateway traffic
	@$(BIN)/keytrail demo $(ARGS)

test: lint clickhouse ## Check the code and run the tests that take seconds
	@$(BIN)/python -m pytest -m "not long" -n auto --dist loadfile --no-loadscope-reorder --durations=10 --durations-min=1 $(ARGS)

test-long: clickhouse ## Run the tests that take minutes, and those of properties with new examples
	@scripts/setup-system $(VENV) long
	@$(BIN)/python -m pytest -m "long or hypothesis" --hypothesis-profile=new --durations=10 --durations-min=1 $(ARGS)

lint: setup ## Check style, formatting and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary

format: setup ## Put the code in its format and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

bench: clickhouse ## Measure throughput and latency
	@scripts/setup-system $(VENV) bench
	@$(BIN)/python -m benchmarks $(ARGS)

lock: setup ## Write requirements.lock again from pyproject.toml (ARGS=--upgrade for newer releases)
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet \
		--output-file requirements.lock $(ARGS)

proto: setup ## Compile the protobuf schema
	@$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src $(PROTO)

wheel: setup ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean: ## Remove what was built and cached, but not .venv
	@rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
