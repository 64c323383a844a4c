# make lab        set up .venv and open the course in JupyterLab
# make test       set up .venv and run everything that checks the project
# make test-fast  the same without notebooks, browser and slow tests
# make test-browser  run every lesson in the browser; make test runs three of them there
# make notebooks  rebuild the notebooks from notebooks/source (NAME=04a_text_generation for one)
# make student    write build/student: copies to hand out, exercises marked for nbgrader
# make instructor write build/instructor: solutions, answer keys, minutes per section
# make site       build the course as pages to read without running it, in build/site
# make checkpoints  train what is in data/checkpoints again (NAME=place_names for one)
# make edges      how near checked values come to the edges of their intervals on another machine
# make bench, make lint, make lock, make clean: for contributors

PYTHON ?= python3
NAME ?=
LAB_ARGS ?=
LOCK_ARGS ?=

ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif

# JupyterLab's question about news, over a corner of the page, and its look at the network.
NEWS := @jupyterlab/apputils-extension:announcements
IN_PARALLEL := -n 2 --dist loadscope

.PHONY: lab test test-fast test-browser notebooks student instructor site checkpoints edges bench lint lock clean

lab: .venv/installed
	$(BIN)/jupyter lab --LabApp.default_url=lab/tree/notebooks/00_start_here.ipynb $(LAB_ARGS)

# What notebooks record of a learner's progress stays here, and out of the user's own folder.
test test-fast test-browser: export COURSE_STATE_DIR = $(CURDIR)/build/state
# Two at a time on two cores: one thread each, or they wait for one another half of the time.
test test-fast: export TF_NUM_INTRAOP_THREADS = 1
test test-fast: export TF_NUM_INTEROP_THREADS = 1
test test-fast: export OMP_NUM_THREADS = 1

test: .venv/installed
	$(BIN)/python -m pytest tests -m "not browser" $(IN_PARALLEL)
	$(BIN)/python -m pytest tests -m "browser and not slow" $(IN_PARALLEL)
	$(BIN)/python -m pytest --nbval --nbval-current-env notebooks/00_start_here.ipynb
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 $(IN_PARALLEL) $(filter-out %/00_start_here.ipynb,$(wildcard notebooks/*.ipynb))
	@$(BIN)/python tests/figures.py

test-fast: .venv/installed
	$(BIN)/python -m pytest tests -m "not slow and not browser" $(IN_PARALLEL)

test-browser: .venv/installed
	$(BIN)/python -m pytest tests/test_browser.py

notebooks: .venv/installed
	$(BIN)/python notebooks/source/build.py $(NAME)
	@$(BIN)/python tests/figures.py --write

student: .venv/installed
	$(BIN)/python notebooks/source/classroom.py student $(NAME)

instructor: .venv/installed
	$(BIN)/python notebooks/source/classroom.py instructor $(NAME)

site: .venv/installed
	rm -rf build/site build/site-pages
	mkdir -p build/site-pages
	$(BIN)/python -m sphinx -W --keep-going --quiet -c notebooks/source/site -d build/site-pages/.doctrees build/site-pages build/site

checkpoints: .venv/installed
	$(BIN)/python data/checkpoints/recipes.py $(NAME)

edges: .venv/installed
	$(BIN)/python tests/benchmarks/edges.py $(NAME)

bench: .venv/installed
	$(BIN)/python tests/benchmarks/run.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: .venv/installed
	$(BIN)/uv pip compile --universal --generate-hashes --extra test --extra site --no-header $(LOCK_ARGS) pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# The environment: made once, and again when the pins or the package's own settings change.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else 'The course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12' % v[:2])"
	@echo "Setting up .venv from requirements.lock; this takes one to four minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m jupyter labextension disable --level=sys_prefix $(NEWS) > /dev/null
	@touch $@
