# Each target sets up what it needs in .venv: once, and again when pyproject.toml has
# changed. That takes Python 3.11 or later with its venv module, and a package index.
#
#   make test ARGS="-k memo"          options for the program that the target runs
#   make test PYTHON=python3.12       another Python, with an environment of its own

VENV := .venv$(addprefix -,$(notdir $(PYTHON)))
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
ARGS :=
TYPESCRIPT := 7.0.2
PACKAGES := jackfield jackfield_archives jackfield_bash jackfield_checkpoint \
	jackfield_cli jackfield_configuration jackfield_executors jackfield_memo jackfield_monitoring \
	jackfield_observers jackfield_parsl jackfield_policies jackfield_results \
	jackfield_serialize jackfield_staging jackfield_stream jackfield_system \
	jackfield_testing jackfield_transfers

ifneq ($(words $(PYTHON)),$(if $(PYTHON),1,0))
$(error PYTHON is '$(PYTHON)': it must be one name or path, without spaces)
endif

# Several processes share the tests; ARGS="-n 0" makes it one, for a debugger. Compiled
# files are kept whatever the environment says: each of those processes, and each program
# that a test starts, would compile everything again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -n auto --dist loadgroup

.PHONY: help demo test quick lint types mypy pyright verifytypes pages docs check bench \
	figures bench-remote dist tools clean environment moved

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

demo: $(VENV)/.installed  ## map Python's standard library: atlas/report.md
	$(PY) examples/stdlib_atlas.py $(ARGS)

test: $(VENV)/.dev  ## run the tests
	$(PYTEST) $(ARGS)

quick: $(VENV)/.dev  ## run the tests that take but a moment each
	$(PYTEST) --quick $(ARGS)

lint: $(VENV)/.dev  ## look for mistakes, and for files that are not formatted
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: mypy pyright verifytypes  ## check the types

mypy: $(VENV)/.dev
	$(PY) -m mypy

pyright: $(VENV)/.dev
	$(PY) -m pyright --pythonpath $(PY)

verifytypes: $(VENV)/.dev
	for package in $(PACKAGES); do PATH="$(CURDIR)/$(VENV)/bin:$$PATH" \
		pyright --ignoreexternal --verifytypes $$package || exit 1; done

# The compiler comes from npm, which not every machine has: `.ci/run` looks first.
pages:  ## check the types of the pages' JavaScript
	npx --yes --package typescript@$(TYPESCRIPT) -- tsc -p plugins/monitoring/jsconfig.json

# Strict: a link or an anchor that leads nowhere is an error, and so is a page that asks for
# anything of another server. The variable turns off an advertisement of the theme's.
docs: $(VENV)/.docs  ## build the site of the documentation: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	$(PY) .ci/check-site.py build/site

check: lint types test  ## all of the three above

bench: $(VENV)/.bench  ## compare with other libraries
	$(PY) benchmarks/run.py $(ARGS)

# On what is installed: a quiet moment is not to be spent on installing.
figures: $(VENV)/.dev  ## measure all rows anew for the page: benchmarks/README.md
	$(PY) benchmarks/run.py --repeats 3 --page $(ARGS)

bench-remote: $(VENV)/.dev  ## measure tasks on a Dask cluster of this machine
	$(PY) benchmarks/remote.py $(ARGS)

# The version is that of pyproject.toml. What is built is tried on each Python that is
# there, in environments that have nothing else, and gets a list of what comes along.
dist: $(VENV)/.release  ## build sdist, wheel and SBOM, and try them: dist/
	rm -rf dist
	$(PY) -m build --outdir dist .
	$(PY) -m twine check --strict dist/*
	CYCLONEDX=$(CURDIR)/$(VENV)/bin/cyclonedx-py .ci/check-dist dist

# So that targets may then run side by side: none of them installs anything.
tools: $(VENV)/.dev $(VENV)/.docs $(VENV)/.release  ## install all that a release needs

clean:  ## remove the environment, the atlas and the tools' caches
	rm -rf $(VENV) atlas build dist benchmarks/results
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find kernel plugins tests examples benchmarks -name __pycache__ -prune \
		-exec rm -rf {} +

# -- The environment ------------------------------------------------------------------
#
# One stamp builds on the other, so that no two runs of pip ever work at a time. The
# tools are installed without the package: a demo may be using it meanwhile. The first
# stamp holds the path: in a copy of this directory, the installation leads to the other.

STALE := $(shell $(PY) -c "" 2> /dev/null || echo environment; \
	test "$$(cat $(VENV)/.installed 2> /dev/null)" = "$$(pwd -P)" || echo moved)

environment:
	@for python in $(CANDIDATES); do \
		if $$python -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' \
			2> /dev/null; then \
			echo "Making $(VENV) with $$($$python --version)"; \
			$$python -m venv --clear $(VENV); \
			exit; \
		fi; \
	done; \
	echo "None of these is a Python 3.11 or later with its venv module: $(CANDIDATES)." >&2; \
	echo "Install one (on Debian, python3-venv too), or name it: make PYTHON=path" >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml $(STALE)
	@echo "Installing Jackfield into $(VENV)"
	@$(PY) -m pip --version > /dev/null 2>&1 || $(PY) -m ensurepip > /dev/null
	@$(PIP) install --editable .
	@pwd -P > $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "Installing the tools for tests and checks into $(VENV)"
	@$(call write_extra,dev) > $(VENV)/dev.txt
	@$(PIP) install --requirement $(VENV)/dev.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	@echo "Installing the tools for the documentation into $(VENV)"
	@$(call write_extra,docs) > $(VENV)/docs.txt
	@$(PIP) install --requirement $(VENV)/docs.txt
	@touch $@

$(VENV)/.release: $(VENV)/.installed
	@echo "Installing the tools for releases into $(VENV)"
	@$(call write_extra,release) > $(VENV)/release.txt
	@$(PIP) install --requirement $(VENV)/release.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "Installing the libraries to compare with into $(VENV)"
	@$(call write_extra,bench) > $(VENV)/bench.txt
	@$(PIP) install --requirement $(VENV)/bench.txt
	@touch $@

define write_extra
$(PY) -c 'import sys, tomllib; \
project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*project["optional-dependencies"][sys.argv[1]], sep="\n")' $(1)
endef
