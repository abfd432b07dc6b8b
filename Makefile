# Every target does its own set-up in .venv; it needs Python 3.11 or newer with venv, and make.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test check soak coverage docs words bench lock wheel clean

# The first interpreter that really runs; a named one that is only a shim does not.
# Versions that the tests know come first, a newer one is taken when there is no other.
FIND = for most in 14 99; do for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, $$most))" \
	>/dev/null 2>&1 && { echo "$$p"; exit; }; done; done

PY  := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -qq
RUN := .venv/.run
DEV := .venv/.dev
WORDS := .venv/.words

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

setup: $(DEV) $(WORDS) ## set up .venv for work on the program

demo: $(RUN) $(WORDS) ## a whole working day of a simulated shop; leaves a shop folder in demo/
	.venv/bin/kmtool demo demo --yes

test: $(DEV) $(WORDS) ## run the tests
	$(PY) -m pytest -q -n auto $(ARGS)

check: $(DEV) $(WORDS) ## lint, format, types, directions of import, documents, the simulator
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(PY) tools/docs.py --check
	$(PY) -m tools.words --check
	$(PY) -m kmtool selftest --seed 1 --events 300000

soak: $(DEV) $(WORDS) ## play ten million events of made-up shops; takes about an hour
	$(PY) -m kmtool selftest --seed 1000000 --events 10000000 -v

coverage: $(DEV) $(WORDS) ## run the tests and hold branch coverage of domain, operations and store
	$(PY) -m pytest -q --cov --cov-report=term $(ARGS)

docs: $(DEV) ## write the generated documents anew
	$(PY) tools/docs.py

words: $(DEV) ## collect the texts people read into the catalogues of translations
	$(PY) -m tools.words

bench: $(DEV) ## run the benchmarks, each against a peer
	$(PY) -m bench $(ARGS)

wheel: $(DEV) ## build the wheel into dist/
	$(PY) -m build --no-isolation --outdir dist .

lock: $(DEV) ## resolve the dependencies anew into requirements*.txt
	$(PIP) install uv
	$(LOCK) --output-file requirements.txt
	$(LOCK) --group dev --output-file requirements-dev.txt

LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --group build pyproject.toml

clean: ## remove what set-up and tools made
	rm -rf .venv build dist demo htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PY):
	@python=$$($(FIND)); \
	[ -n "$$python" ] || { echo "kmtool needs Python 3.11 or newer with venv (make PYTHON=/path/to/python3)" >&2; exit 1; }; \
	"$$python" -m venv .venv

$(WORDS): $(wildcard data/locale/*/LC_MESSAGES/*.po)
	@$(PY) tools/build_hook.py >/dev/null
	@touch $@

$(RUN): requirements.txt pyproject.toml | $(PY)
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(PY)
	$(PIP) install --require-hashes -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUN)
