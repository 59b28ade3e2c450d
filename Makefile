# The whole project by name. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
LOCK   := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

export PYTHONPATH := include:plugins
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup setup-dev demo up down airflow plan prices policies wheelhouse env recsys test test-faults check format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make the environment (Python 3.11 is enough)

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "expected $(PYTHON) on the PATH, found none: install Python 3.11, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: requirements.txt bin/recsys | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/python -m demo.preflight
	ln -sf ../../bin/recsys $(BIN)/recsys
	@touch $@

setup-dev: $(VENV)/.ready-dev

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@touch $@

demo: setup ## Run the nightly DAG on the embedded AWS with real data, to a verdict
	@$(BIN)/python -m demo.run

up: setup ## Start Airflow and the embedded AWS in the background
	@$(BIN)/python -m demo.services up

down: ## Stop what `make up` started
	@$(BIN)/python -m demo.services down

airflow: setup ## Run a command of that Airflow: make airflow ARGS="dags list"
	@$(BIN)/python -m demo.services airflow $(ARGS)

env: setup ## What a shell needs to talk to that embedded AWS: eval "$$(make env)"
	@$(BIN)/python -m demo.services env

recsys: setup ## The models' command line there: make recsys ARGS="list"
	@$(BIN)/python -m demo.services recsys $(ARGS)

plan: setup ## What a run would ask for and cost: make plan RECOMMENDER=complete_journey ENVIRONMENT=aws [DAG=recommend] [SIZE="ROWS USERS ITEMS"]
	@$(BIN)/python -m recsys_emr.plan $(RECOMMENDER) $(if $(ENVIRONMENT),--environment $(ENVIRONMENT)) $(if $(SNAPSHOT),--snapshot $(SNAPSHOT)) $(if $(DAG),--dag $(DAG)) $(if $(SIZE),--size $(SIZE))

prices: setup ## Refresh the price table from AWS (needs credentials): make prices ENVIRONMENT=aws
	@$(BIN)/python -m recsys_emr.price_list $(if $(ENVIRONMENT),--environment $(ENVIRONMENT))

policies: setup ## IAM policies of an environment: make policies ENVIRONMENT=aws [OUT=folder]
	@$(BIN)/python -m recsys_emr.policies $(if $(ENVIRONMENT),--environment $(ENVIRONMENT)) $(if $(OUT),--out $(OUT))

wheelhouse: setup ## Wheels for the nodes: make wheelhouse ARCH=arm64 [OUT=folder] [UPLOAD=aws]
	@$(BIN)/python -m recsys_emr.wheelhouse $(ARCH) $(or $(OUT),var/wheels) $(if $(UPLOAD),--upload $(UPLOAD))

# Two files at a time, in the order of their names: the long ones start first, and they mostly wait.
test: setup-dev ## Run all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-faults: setup-dev ## Play every fault at every moment of a run: make test-faults [OUT=table.md], half an hour
	$(BIN)/python -m pytest tests/integration/pipeline/test_faults.py -m "faults or not faults" --fault-table $(or $(OUT),var/faults.md); \
	    code=$$?; cat $(or $(OUT),var/faults.md); exit $$code

check: setup-dev ## Formatter, linter, types, secrets, compose file, locks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

format: setup-dev ## Let the formatter and the linter mend what they can
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lock: $(UV) ## Pin every dependency again, with hashes
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) --constraint requirements.txt include/bootstrap/requirements.in -o include/bootstrap/requirements.txt

clean: ## Remove the environment and everything that runs have left
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis
