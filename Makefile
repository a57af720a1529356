# Every command sets itself up: from a clean clone, `make bench` is enough.
SHELL  := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# What an editable installation compiles or records; the Python files are used where they lie.
BUILT_FROM := pyproject.toml setup.py $(shell find cpp kmeans_lab -name '*.cpp' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxi')

.PHONY: bench guide report serve studies smoke test test-all hostile coverage nightly guests peers sanitize fuzz wheel \
	clean lint lint-python lint-types lint-cython lint-cpp lint-shell lint-page lint-docker
.DEFAULT_GOAL := bench

$(READY): $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

bench: $(READY)  ## the standard comparison; make bench ARGS='--preset image'
	$(BIN)/python -m pytest --benchmark-only $(ARGS)

report: $(READY)  ## the standard preset as one HTML page: build/report.html
	mkdir -p build
	$(BIN)/kmeans-lab bench --output build/run.json --force $(ARGS)
	$(BIN)/kmeans-lab scaling cpp --json > build/scaling-cpp.json
	$(BIN)/kmeans-lab scaling cpp-simd --json > build/scaling-cpp-simd.json
	$(BIN)/kmeans-lab scaling cpp-simd --grow n,k,d --json > build/growth.json
	$(BIN)/kmeans-lab overhead --output build/overhead.json --force
	$(BIN)/kmeans-lab report build/run.json --scaling build/scaling-cpp.json \
		--scaling build/scaling-cpp-simd.json --scaling build/growth.json --overhead build/overhead.json \
		--output build/report.html --force

guide: $(READY)  ## what to accelerate with, of the tools that are installed: docs/choosing.md; 10 minutes
	mkdir -p build
	$(BIN)/kmeans-lab bench --baseline numpy --output build/guide-run.json --force
	$(BIN)/kmeans-lab overhead --output build/guide-overhead.json --force
	$(BIN)/python -m kmeans_lab.choosing.guide build/guide-run.json build/guide-overhead.json docs/choosing.md

studies: $(READY)  ## every claim about k-means, tried: build/studies, docs/studies.md; 10 minutes
	$(BIN)/kmeans-lab study all --output build/studies --force $(ARGS)
	$(BIN)/python -m kmeans_lab.studies.gallery build/studies docs

serve: $(READY)  ## the race in the browser; Ctrl-C ends it; make serve ARGS='--port 0'
	$(BIN)/kmeans-lab serve --open $(ARGS)

smoke: $(READY)  ## the same on tiny data, in seconds
	$(BIN)/python -m pytest --benchmark-only --preset smoke --require-kernels=all

# As many tests at once as there are cores, and no more than eight: each process imports all of it.
PYTEST := $(BIN)/python -m pytest --require-kernels=all -n auto --maxprocesses 8 --dist worksteal

test: $(READY)  ## what a change can break: five minutes on two cores
	$(PYTEST) -m 'not slow' --hypothesis-profile=few $(ARGS)

test-all: $(READY)  ## all tests: fifteen minutes on two cores; CI runs them
	$(PYTEST) $(ARGS)

hostile: $(READY)  ## what was tried to break it, in bounded time; part of test-all
	$(PYTEST) -m hostile tests/hostile $(ARGS)

# Tracing doubles what tests in plain Python take, and sees neither compiled loops nor other processes:
# so the quick tests that compute here, with the kernels that every room needs. Two minutes, 74 %.
TRACED := $(addprefix tests/,core io estimators numerics cli pages isolation measure/test_statistics.py \
	web/test_comparison.py web/test_server.py studies/test_originals.py studies/test_studies_small.py \
	studies/test_studies_text.py studies/test_studies_embeddings.py)
coverage: $(READY)  ## lines of the package that quick tests reach in their own process
	$(PYTEST) -q $(TRACED) -m 'not slow and not hostile' --hypothesis-profile=few \
		-k 'not numba and not tiled and not broadcast and not cython and not browser and not process and not memory' \
		--cov=kmeans_lab --cov-report=term:skip-covered $(ARGS)

nightly: test-all fuzz sanitize  ## an hour: before a release

# Everything that lints, each part by itself: .pre-commit-config.yaml runs those that a commit touches.
lint: lint-python lint-types lint-cython lint-cpp lint-shell lint-page lint-docker

# Runs a command on the files of a kind, however deep they lie: those of git and those not yet added.
on = git ls-files -z --cached --others --exclude-standard -- $(1) | xargs -0 -r $(2)

lint-python: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(READY)
	$(BIN)/mypy

lint-cython: $(READY)
	$(call on,'*.pyx' '*.pxi' '*.pxd',env PATH=$(abspath $(BIN)):$$PATH cython-lint)

lint-cpp: $(READY)
	$(call on,'*.c' '*.cpp' '*.h',$(BIN)/clang-format --dry-run --Werror)

lint-shell: $(READY)
	$(call on,'*.sh' .ci/run,$(BIN)/shellcheck)

lint-page: $(READY)
	$(BIN)/oxlint --deny-warnings .

lint-docker: $(READY)
	$(BIN)/hadolint Dockerfile

# What builds guests, or runs them: extras of guests/pyproject.toml. Without one of them its guest is a
# row that says so, and the others are built.
TOOLS := mypyc pythran nanobind cffi numexpr
# With what builds the distribution itself: a tool must not bring back an older setuptools.
EXTRAS := import sys, tomllib; project = tomllib.load(open("guests/pyproject.toml", "rb")); \
	extras = project["project"]["optional-dependencies"][sys.argv[1]]; \
	print(*project["build-system"]["requires"], *extras, sep="\n")

guests: $(READY)  ## kernels in other tools; make guests TOOLS='mojo jax torch' installs these, too: guests/README.md
	for tool in $(TOOLS); do \
		$(BIN)/python -c '$(EXTRAS)' $$tool | $(BIN)/pip install --quiet --requirement /dev/stdin || \
		echo "$$tool is not installed"; \
	done
	PATH=$(abspath $(BIN)):$$PATH pip install --quiet --no-build-isolation --no-deps --editable guests
	$(BIN)/kmeans-lab kernels --try

PEERS  := .venv-peers

$(PEERS)/.ready: $(BUILT_FROM)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --editable '.[peers]'
	touch $@

peers: $(PEERS)/.ready  ## beside other libraries; make peers ARGS='--threads 1,2 --preset image'
	$(PEERS)/bin/python -m bench.peers $(ARGS)

fuzz: $(READY)  ## new draws for the properties, damaged files and matrices for the readers: 20 minutes
	$(BIN)/pip install --quiet 'kmeans-lab[fuzz]'
	$(BIN)/python -m pytest -q tests/kernels/test_properties.py --hypothesis-profile=fuzz
	$(BIN)/python -m tests.support.readers -max_total_time=300 -timeout=20 -max_len=4000
	first=$$(date +%s) && $(BIN)/python -m tests.support.damaged $$first $$((first + 20000))

sanitize: $(READY)  ## the native code under ASan + UBSan, TSan and Valgrind: 20 minutes
	sh tests/support/sanitize.sh $(BIN)/python address $(ARGS)
	sh tests/support/sanitize.sh $(BIN)/python thread $(ARGS)
	sh tests/support/sanitize.sh $(BIN)/python valgrind $(ARGS)

wheel: $(READY)  ## sdist, wheel from the sdist, and a fit outside the checkout
	sh tests/support/check_wheel.sh $(BIN)/python

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info
	find kmeans_lab -name '*.so' -delete
