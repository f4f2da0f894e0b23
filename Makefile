# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Two threads that fight over two cores made some linear algebra 10-100x slower: one thread a process.
export OMP_NUM_THREADS ?= 1
ZOO    := flow-shapes
RUN    := runs/demo/$(shell date +%Y%m%d-%H%M%S)

.PHONY: help install lint format test test-slow demo demo-generate bench docs clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[offline,fid,flow,shots,c2pa,tensorboard,sweep,export,cluster,dev,docs]'
	touch $@

install: $(VENV)/.installed ## create .venv and install everything, exact versions

# Every demo is a run in a folder of its own: it may be started again.
demo: install ## train a translation, day to night, translate a video it has never seen, one page (10 minutes on 2 cores)
	$(BIN)/vidiff fit --config experiments/cyclegan.yaml --config experiments/_demo.yaml --run_dir $(RUN)
	$(BIN)/vidiff data make --output data/unseen --num_videos 1 --seed 1 --num_frames 48
	$(BIN)/vidiff translate --ckpt $(RUN)/checkpoints/best.ckpt --input data/unseen/bounce/00000.mp4 \
	  --output $(RUN)/day-and-night.mp4 --compare
	$(BIN)/vidiff sample --ckpt zoo:$(ZOO) --output $(RUN)/$(ZOO) --formats gif --formats png
	$(BIN)/vidiff report $(RUN)

demo-generate: install ## train a generator of the embedded videos, one page (10 minutes on 2 cores)
	$(BIN)/vidiff fit --config experiments/anytime.yaml --config experiments/_demo_generate.yaml --run_dir $(RUN)
	$(BIN)/vidiff report $(RUN)

test: install ## the fast test suite, one process a core (5 to 12 minutes on 2 cores)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: install ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: install ## check style
	$(BIN)/ruff check vidiff tests docs
	$(BIN)/ruff format --check vidiff tests docs

format: install ## fix style
	$(BIN)/ruff check --fix vidiff tests docs
	$(BIN)/ruff format vidiff tests docs

bench: install ## rebuild the README's table on the embedded videos (about an hour on 2 cores)
	$(BIN)/python -m vidiff bench run experiments/benchmarks/families.yaml

docs: install ## build the documentation as a site in site/ (`python -m http.server -d site` shows it)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean: ## remove caches and build products; runs and data stay
	rm -rf build dist site .pytest_cache .ruff_cache *.egg-info
	find vidiff tests -name __pycache__ -type d -prune -exec rm -rf {} +
