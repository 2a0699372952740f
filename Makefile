PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := -m pip --disable-pip-version-check install -qq
MIN_PYTHON := $(shell sed -n 's/^min_python *= *//p' settings.ini)

# One notebook for `make notebooks`, or all of them.
NB ?=

# One benchmark for `make bench`, or all of them.
BENCH ?=

# The backend of Keras for `make test`. The notebooks show what TensorFlow gives: with another one the tests run that are
# about none.
BACKEND ?= tensorflow
TESTS_torch := attention backends batch batching compare layers losses mask_layers masked_layers masked_windows masks trace
# JAX compiles each operation for each shape: of long tables `some_of` of tests/thorough.py leaves it fewer cases.
TESTS_jax := $(TESTS_torch)
TESTS ?= $(patsubst %,tests/test_%.py,$(TESTS_$(BACKEND)))

# One language for `make site`, en or zh, or all of them.
LANGUAGES ?=

# The module for `make mutants`.
MODULE ?= padding

# Otherwise TensorFlow fills the terminal with log lines.
export TF_CPP_MIN_LOG_LEVEL ?= 3

# JupyterLab refuses to start as root, as in a container, unless told so.
LAB_FLAGS := $(if $(filter 0,$(shell id -u)),--allow-root)
# Without a screen there is no browser to open: the address is printed instead.
ifeq ($(shell uname)$(DISPLAY)$(WAYLAND_DISPLAY),Linux)
LAB_FLAGS += --no-browser
endif

.DEFAULT_GOAL := help
.PHONY: help lab test thorough bench mutants notebooks export zh readme site test-site constraints clean check-python

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

lab: $(INSTALLED) ## Open the course in JupyterLab (in Chinese: LANG=zh)
	@# JupyterLab shows no SVG figures of a notebook that it does not trust.
	@$(BIN)/jupyter trust nbs/*.ipynb nbs/source/*.ipynb nbs/zh/*.ipynb > /dev/null
	@# The address that is printed leads to the index too, which it would not with a file as argument.
	$(BIN)/jupyter lab $(LAB_FLAGS) --LabApp.default_url=/lab/tree/nbs/$(if $(filter zh%,$(LANG)),zh/)index.ipynb

test: $(INSTALLED) ## Re-run every notebook cell, compare its output, and run the other tests (or BACKEND=torch, BACKEND=jax)
ifeq ($(BACKEND),tensorflow)
	$(BIN)/python -m pytest
else
	@$(if $(filter torch,$(BACKEND)),$(BIN)/python $(PIP) -c constraints.txt -e '.[torch]')
	KERAS_BACKEND=$(BACKEND) $(BIN)/python -m pytest --dist load $(TESTS)
endif

thorough: $(INSTALLED) ## Run the tests that take too long for every change: all random models, all layers, engines that are killed
	$(BIN)/python -m pytest -m thorough tests
	@# Their code and outputs are those of the English lessons: here they run, too.
	$(BIN)/python -m pytest nbs/zh/*.ipynb

bench: $(INSTALLED) ## Measure padding, training, the debugger, imports and notebooks (one: BENCH=training)
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks$(if $(BENCH),.$(BENCH))

mutants: $(INSTALLED) ## Count the small changes of a module that its tests notice (MODULE=padding)
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[mutants]'
	@$(BIN)/python -m tools.mutants $(MODULE)

notebooks: export ## Run the notebooks and store their output, then export and render (one: NB=nbs/01_padding.ipynb)
	$(BIN)/python -m tools.notebooks execute $(NB)
	@# Running gives an id to a cell that had none, and the package names the ids.
	@$(MAKE) --no-print-directory export readme zh

export: $(INSTALLED) ## Write the package from the notebooks
	$(BIN)/nbdev_export --skip_folder_re '^([_.]|zh$$)'

zh: $(INSTALLED) ## Build the Chinese lessons from their catalogues, and say what is not translated
	@$(BIN)/python -m tools.translations update
	@$(BIN)/python -m tools.translations build
	@$(MAKE) --no-print-directory readme

readme: $(INSTALLED) ## Write README.md and README.zh.md from the index of each edition
	$(BIN)/python -m tools.readme

site: $(INSTALLED) ## Build the site from the stored notebooks: site/_build/html/index.html (one language: LANGUAGES=en)
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[site]'
	$(BIN)/python -m tools.site $(LANGUAGES)

test-site: ## Open every page of the site in Chromium, and check what a reader meets
	@# What cannot be installed here is said before anything else is done.
	@$(MAKE) --no-print-directory check-python
	@$(PYTHON) -m tools.browser
	@$(MAKE) --no-print-directory site
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest --dist worksteal site/tests

constraints: check-python ## Renew constraints.txt with the newest versions that settings.ini allows
	@$(PYTHON) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(MIN_PYTHON)")' || { \
		echo "Renew the constraints with Python $(MIN_PYTHON), the oldest one supported: newer ones can" >&2; \
		echo "install what it pins, but not the other way round. Try: make constraints PYTHON=python$(MIN_PYTHON)" >&2; \
		exit 1; }
	@echo "Installing the newest versions in a temporary environment. This takes a few minutes."
	@set -e; temporary=$$(mktemp -d); trap 'rm -rf "$$temporary"' EXIT; \
		$(PYTHON) -m venv "$$temporary/venv"; \
		"$$temporary/venv/bin/python" $(PIP) -e '.[dev,browser]'; \
		"$$temporary/venv/bin/python" -m pip freeze --all --exclude pip --exclude masking_tutorial > "$$temporary/constraints.txt"; \
		mv "$$temporary/constraints.txt" constraints.txt

clean: ## Remove the virtual environment and whatever else was made here
	rm -rf $(VENV) build dist site/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf {} +

$(INSTALLED): constraints.txt settings.ini setup.py pyproject.toml tools/ipython_kernel_config.py
	@$(MAKE) --no-print-directory check-python
	@echo "Setting up $(VENV). This takes a few minutes."
	@# What an earlier attempt left behind, perhaps of another Python, goes.
	@$(PYTHON) -m venv $(if $(wildcard $@),,--clear) $(VENV)
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[dev]' || { \
		echo "The packages could not be installed. If there are none for $$($(PYTHON) -V) yet," >&2; \
		echo "name an older one: make PYTHON=python$(MIN_PYTHON)" >&2; \
		exit 1; }
	@mkdir -p $(VENV)/etc/ipython && cp tools/ipython_kernel_config.py $(VENV)/etc/ipython
	@# JupyterLab asks at its first start whether it may fetch news.
	@$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements" 2> /dev/null
	@touch $@

check-python:
	@$(PYTHON) -c '' 2> /dev/null || { \
		echo "'$(PYTHON)' does not run. Install Python $(MIN_PYTHON) or later, or name one: make PYTHON=python$(MIN_PYTHON)" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < tuple(map(int, "$(MIN_PYTHON)".split("."))))' || { \
		echo "'$(PYTHON)' is $$($(PYTHON) -V 2>&1), but Python $(MIN_PYTHON) or later is needed." >&2; \
		echo "If you have one, name it: make PYTHON=python$(MIN_PYTHON)" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
