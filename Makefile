# One target sets everything up; the others call it when it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RECBOLE := .venv-recbole
# Processes that share the tests.
JOBS ?= 2

.PHONY: setup demo test lint types unit recbole docs scatter clean

setup: $(STAMP)

# Written last, so that an interrupted install is repeated.
$(STAMP): pyproject.toml constraints.txt hatch_build.py $(wildcard graphcl/native/sources/*) graphcl/native/build.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/graphcl data fetch cora ml-100k
	rm -rf runs/demo_*
	$(BIN)/graphcl run csgcl cora --config configs/demo/csgcl_cora.yaml --out runs/demo_csgcl_cora
	$(BIN)/graphcl run lightgcl ml-100k --config configs/demo/lightgcl_ml-100k.yaml --out runs/demo_lightgcl_ml-100k
	$(BIN)/graphcl run sasrec ml-100k --config configs/demo/sasrec_ml-100k.yaml --out runs/demo_sasrec_ml-100k
	$(BIN)/graphcl report runs/demo_csgcl_cora runs/demo_lightgcl_ml-100k runs/demo_sasrec_ml-100k -o report.html

test: lint types unit recbole

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

# One thread a process: two that share two cores with two threads each wait for one another.
unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# The site, from docstrings; a warning, such as a broken link, fails.
docs: $(STAMP)
	$(BIN)/python docs/build.py

# RecBole needs an older pandas than the rest, so it lives in an environment of its own on top of
# $(VENV). Its requirements would bring ray and more, 70 MB that the bridge never imports.
$(RECBOLE)/.installed: $(STAMP) requirements-recbole.txt
	test -x $(RECBOLE)/bin/python || $(BIN)/python -m venv $(RECBOLE)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(" + repr(sysconfig.get_path("purelib")) + ")")' \
		> "$$($(RECBOLE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beneath.pth"
	$(RECBOLE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-recbole.txt
	touch $(RECBOLE)/.installed

recbole: $(RECBOLE)/.installed
	$(RECBOLE)/bin/python -m pytest tests/recsys/recbole

# torch_scatter is built from source against the installed torch, so it comes second.
scatter: $(STAMP)
	$(BIN)/python -m pip install --no-build-isolation -e ".[scatter]"

clean:
	rm -rf $(VENV) $(RECBOLE) build dist graphcl/native/built .pytest_cache .mypy_cache .ruff_cache .hypothesis
