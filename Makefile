# make run · make test · make lint · make bench · make frozen: each works on a fresh clone and makes .venv itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUN := runs/first-light
MINUTES := 5
BACKENDS := torch tensorflow jax
# What differs between the backends; everything else is tested once.
NO_BACKEND := $(patsubst %,tests/training/test_%.py,batches data durable fit_mistakes ranking report stopping)
BACKEND_TESTS := tests/layers $(filter-out $(NO_BACKEND),$(wildcard tests/training/test_*.py))
BACKEND_TESTS += tests/test_generation.py tests/test_model.py tests/test_model_training.py

# What measures how fast it is answered: to run with nothing beside it.
TIMED_TESTS := tests/desktop_app tests/runtime

.PHONY: run test test-timed test-once lint bench frozen clean $(addprefix test-,$(BACKENDS))
.DEFAULT_GOAL := run

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[torch,cpu,desktop]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(PIP) -e '.[torch,tensorflow,jax,hub,cpu,desktop,evaluate,dev]'
	touch $@

# Minutes on the embedded sentences; a second call finds the bundle and does not train again.
$(RUN)/bundle/manifest.json: | $(VENV)/run.stamp
	rm -rf $(RUN)
	KERAS_BACKEND=torch $(BIN)/python -m keras_transformer.fit --preset tiny --output $(RUN) --max-minutes $(MINUTES)
	$(BIN)/python export/to_onnx.py $(RUN) --precision fp32,int8

run: $(VENV)/run.stamp $(RUN)/bundle/manifest.json
	$(BIN)/python examples/first_light.py $(RUN)/bundle
	-@if [ -n "$$DISPLAY" ]; then $(BIN)/python -m desktop_app; fi

test: test-timed test-once $(addprefix test-,$(BACKENDS))

test-timed: $(VENV)/dev.stamp
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(TIMED_TESTS)

test-once: $(VENV)/dev.stamp
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests $(addprefix --ignore=,$(TIMED_TESTS) $(BACKEND_TESTS))

$(addprefix test-,$(BACKENDS)): test-%: $(VENV)/dev.stamp
	KERAS_BACKEND=$* $(BIN)/python -m pytest $(BACKEND_TESTS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Optimum needs older releases than ours: an environment for itself.
build/optimum/bin/python: benchmarks/requirements-optimum.txt
	$(PYTHON) -m venv build/optimum
	build/optimum/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench: $(VENV)/dev.stamp build/optimum/bin/python
	$(PIP) -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/desktop.py

# dist/keras-transformer: the window in one folder that starts without Python.
frozen: $(VENV)/dev.stamp
	packaging/build_frozen.sh
	$(BIN)/python packaging/check_frozen.py

clean:
	rm -rf $(VENV) runs/first-light build dist *.egg-info
