# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := lab,test,book,cluster,heic

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lab app notebooks book bench stress lint format clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: $(READY)  ## Make .venv and fetch the DINOv2 ViT-S/14 weights

demo: $(READY)  ## Find planted defects in three textures, write out/demo/report.html
	$(BIN)/musc-lite demo --output out/demo

# Two processes of one thread each: threads that fight for two cores wait for each other.
test: $(READY)  ## Check style and types, run every test and doctest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:nbval -n 2 --dist worksteal \
		--reruns 1 --only-rerun TimeoutError --only-rerun "no '.*' after .* s"
	$(BIN)/python tests/answer_exercises.py out/answered
	TQDM_DISABLE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout=300 \
		-n 2 --dist loadfile out/answered

quick: $(READY)  ## Run the tests that take half a minute: formulas, reading files, pictures
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:nbval --quick tests

lab: $(READY)  ## Open JupyterLab in notebooks/
	cd notebooks && ../$(BIN)/jupyter lab

app: $(READY)  ## Find the odd ones in the browser, without seeing code
	$(BIN)/musc-lite app

notebooks: $(READY)  ## Execute all notebooks of the course again
	$(BIN)/python notebooks/execute.py

book: $(READY)  ## Write the course and the reference as a site for reading offline, out/book/index.html
	rm -rf out/book
	$(BIN)/python notebooks/live_page.py out/live/brick.html
	$(BIN)/python -m sphinx --quiet -D live_page=$(CURDIR)/out/live/brick.html notebooks out/book
	$(BIN)/python notebooks/teaching/make_slides.py out/book/teaching/slides.html

bench: $(READY)  ## Repeat the README's performance figures (with tiles: make bench TILES=FOLDER)
	$(BIN)/python benchmarks/mutual_scoring.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/cheaper.py $(if $(TILES),--tiles $(TILES))
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/scale.py --longest 150
	$(BIN)/python benchmarks/gpu.py

stress: $(READY)  ## Damage, kill, crowd and fill everything, and print the figures
	cd tests && ../$(BIN)/python -m stress

lint: $(READY)  ## Check style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)  ## Bring all code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove results and caches, keep .venv
	rm -rf out notebooks/features notebooks/example_photos notebooks/report.html .pytest_cache .ruff_cache .hypothesis

# uv installs in half a minute what takes pip minutes. Without an NVIDIA driver its "auto" takes PyTorch's build for
# processors. Where the index of those builds is out of reach the usual one is asked; where uv finds none, pip may.
INSTALL = $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "musc_lite needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@build=--torch-backend=auto; UV_HTTP_RETRIES=0 $(INSTALL) --quiet --dry-run $$build torch 2> /dev/null \
		|| { build=; echo "PyTorch's own index is out of reach: its usual build (on Linux 5 GB, with CUDA)"; }; \
		$(INSTALL) $$build --editable '.[$(EXTRAS)]' \
		|| $(BIN)/python -m pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python data_scripts/get_weights.py
	@touch $@
