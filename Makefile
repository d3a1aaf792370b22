# make demo    the main job on real data, from events to a score over HTTP (SHOP=cdnow, simulated or complete-journey)
# make test    the tests          make serve      the service on the demo's models, port $(PORT)
# make check   lint and types     make mlflow-ui  the runs and models in MLflow, port $(MLFLOW_PORT)
# make slow    the minutes-long tests; installs Spark beside the rest, and wants a Java runtime (17 or newer)
# make lock    resolve the dependencies anew (needs uv)
# make clean   remove the installation; your events and models in var/, mlruns/ and mlflow.db stay

SHOP ?= cdnow
PORT ?= 8000
MLFLOW_PORT ?= 5000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SPARK_INSTALLED := $(VENV)/.installed-spark
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)

# Compiled code is kept inside the checkout, so that any user can run it, with or without a home.
export RITORNO_CACHE := $(CURDIR)/$(VENV)/cache
export NUMBA_CACHE_DIR := $(CURDIR)/$(VENV)/cache/numba
export PYTHONUNBUFFERED := 1
export OPENBLAS_NUM_THREADS := 1
# Runs and models are where MLflow keeps them by default (mlflow.db here); the other demo shops have their own.
ifneq ($(SHOP),cdnow)
export MLFLOW_TRACKING_URI ?= sqlite:///var/$(SHOP)/mlflow.db
endif
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: demo test serve mlflow-ui check slow lock clean
.DEFAULT_GOAL := demo

demo: $(INSTALLED)
	$(BIN)/python -m training demo --shop $(SHOP)

test: $(INSTALLED)
	@echo "Running the tests; the first run also compiles the feature pass."
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(SPARK_INSTALLED)
	$(BIN)/python -m pytest -m slow

serve: $(INSTALLED)
	$(BIN)/python -m serving api --store var/$(SHOP)/store --port $(PORT)

mlflow-ui: $(INSTALLED)
	@mkdir -p var/$(SHOP)
	@echo "MLflow: http://127.0.0.1:$(MLFLOW_PORT)"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri $(or $(MLFLOW_TRACKING_URI),sqlite:///mlflow.db) --port $(MLFLOW_PORT) --workers 1

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Found no Python 3.11, 3.12 or 3.13. Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version): about a minute, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Installed."

$(SPARK_INSTALLED): $(INSTALLED) requirements-spark.lock
	@echo "Installing Spark into $(VENV): half a gigabyte, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	@touch $@

# requirements-spark.lock is what a cluster needs: features, labels and scores, and Spark, in the same versions.
lock:
	uv pip compile pyproject.toml --extra serving --extra training --extra demo --extra dev \
		--universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet -o requirements.lock
	uv pip compile pyproject.toml --extra spark --extra serving --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet -o requirements-spark.lock
	uv pip compile pyproject.toml --extra training --extra serving --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet -o mlproject/requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
