# DataFlow's tasks. `make` alone lists them. Only Python 3.11+ and make are needed; everything else comes with `setup`.

VENV    := .venv
PYTHON  := $(VENV)/bin/python
STAMP   := $(VENV)/.installed
LOCK    := requirements.lock

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all test-chaos test-machine lint format bench lock clean

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv, bring Java and the jars (once; later starts need no network)
	@$(PYTHON) -m infra.setup
	@$(PYTHON) -m streams.aot

run: setup ## Start the platform with a demo load; prints one URL, Ctrl-C stops all
	@exec $(VENV)/bin/dataflow up --demo

# A deadline that a busy machine missed is tried once more, and told of; whatever else fails, fails.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 40 \
	--reruns 1 --only-rerun 'did not come about within'

test: setup ## The tests, against a real broker, registry, Redis and Spark
	@$(PYTHON) $(PYTEST) --fewer-cases

test-all: setup ## The same, with what each of those shows in other cases too: half as long again
	@$(PYTHON) $(PYTEST)

test-chaos: setup ## The long tests: whole platforms killed, hung, set back and fed traps
	@$(PYTHON) -m pytest -m longhaul

test-machine: setup ## Everything that may happen in random order, for an hour (CHAOS_SEED sets what; it is told)
	@DATAFLOW_MACHINE_SECONDS=$${DATAFLOW_MACHINE_SECONDS:-3600} CHAOS_SEED=$${CHAOS_SEED:-$$(date +%s)} $(PYTHON) -m pytest tests/chaos/test_state_machine.py

lint: $(STAMP) ## Check the code
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

format: $(STAMP) ## Format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: setup ## Measure speed; results go to a file
	@$(PYTHON) -m tests.bench

lock: $(STAMP) ## Pin all packages and jars again (needs the network)
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
		--output-file $(LOCK) requirements-dev.in >/dev/null
	@$(PYTHON) -m infra.setup --lock

clean: ## Remove .venv and caches; data stays (`dataflow reset` removes that)
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): $(LOCK) infra/setup/venv.sh
	@sh infra/setup/venv.sh $(VENV) $(LOCK)
	@touch $@
