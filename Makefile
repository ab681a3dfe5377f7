# A fresh machine needs Python 3.11 or later and nothing else: every target installs first what it needs into .venv.
#   make PYTHON=python3.12 test             another interpreter
#   make PIP_ARGS="-c versions.txt" test    anything pip understands
#   make TORCH=cpu demo                     torch without CUDA (or cu126, rocm6.4, auto: uv's names of PyTorch's builds)

PYTHON   ?= python3
PIP_ARGS ?=
TORCH    ?=
# Warnings are no errors here, as pyproject.toml has them for whoever changes the code: a new release may have one more.
WARNINGS ?= -W default
VENV     ?= .venv
OLDEST   ?= .venv-oldest
DEMO     ?= demo
RUNS     ?= runs
WORKERS  ?= logical
# What to run, and anything else that pytest understands: make PYTEST_ARGS="tests/analyze -k merged" test
PYTEST_ARGS ?=
BENCH    ?=
ROWS     ?= 10000000
# MB of the traces whose load must stay within 2 GB of memory
MEMORY_SIZES ?= 590 2400 5000
STUDY    := reports/study/results

EXPERIMENTS := e4-roofline modes-8b e2-latency e6-throughput e5-block-size e7-steps e9-lengths e8-batch e3-intensity \
               precision sparse gqa scale

BIN    := $(VENV)/bin
PYTEST := python -m pytest -n $(WORKERS) --dist worksteal $(WARNINGS) $(PYTEST_ARGS)

# Stamps: what the commands need is installed; what the tests and checks need besides.
INSTALLED := $(VENV)/.installed
TESTABLE  := $(VENV)/.installed-dev

# The processes of the tests would compile all modules anew, and pytest its assertions.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # one pip at a time
.PHONY: help demo test test-exhaustive test-oldest bench bench-pages check format pages schemas wasm study capture-study smoke-gpu capture-8b clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

define INSTALL
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: make PYTHON=python3.11 ..." >&2; exit 1; }
$(if $(PIP_ARGS)$(TORCH),,@$(HINT))
$(PYTHON) -m venv $(VENV)
$(if $(TORCH),$(BIN)/python -m pip install uv)
$(if $(TORCH),$(BIN)/uv pip install --python $(BIN)/python --torch-backend $(TORCH),$(BIN)/python -m pip install) $(PIP_ARGS) -e
endef

# For those on Linux who let pip choose torch: PyPI has it for CUDA.
define HINT
if [ ! -d $(VENV) ] && [ "$$(uname)" = Linux ] && [ -z "$$PIP_CONSTRAINT" ] && [ ! -e /proc/driver/nvidia ] && ! command -v nvidia-smi >/dev/null; then \
  echo 'No NVIDIA driver found: torch for the CPU is a tenth of the download:'; \
  echo '  make TORCH=cpu $(MAKECMDGOALS)'; \
fi
endef

$(INSTALLED): pyproject.toml
	@echo 'Installing into $(VENV): torch, transformers, DuckDB, Polars, Plotly, HolisticTraceAnalysis, pyspark and what they need;'
	@echo 'to download are 3.7 GB with torch for CUDA, 0.9 GB with torch for the CPU'
	$(INSTALL) '.[all]'
	@touch $@

$(TESTABLE): pyproject.toml
	@echo 'Installing into $(VENV): what Ridgeline needs and, for its tests, pytest, mypy, a Java, playwright, atheris;'
	@echo 'to download are 3.8 GB with torch for CUDA, 1 GB with torch for the CPU'
	$(INSTALL) '.[dev]'
	@touch $(INSTALLED) $@

demo: $(INSTALLED) ## every decoding mode with small models on this machine, from capture to a report in ./demo
	$(BIN)/ridgeline demo --out $(DEMO)
	@find "$(CURDIR)/$(DEMO)" -name '*.html' | sed 's/^/Report: /'

test: $(TESTABLE) ## the tests, a worker a core
	$(BIN)/$(PYTEST)

test-exhaustive: $(TESTABLE) ## the tests with every sweep in full
	$(BIN)/$(PYTEST) --exhaustive

$(OLDEST)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install uv
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --resolution lowest-direct -e '.[dev]'
	@touch $@

test-oldest: $(OLDEST)/.installed-dev ## the tests with the oldest versions that pyproject.toml declares
	$(OLDEST)/bin/$(PYTEST)

bench: $(INSTALLED) ## ingest against HTA's load, a warehouse of ten million kernels, the cost of recording (BENCH="--sizes 120" ROWS=1000000 for less)
	$(BIN)/python -m tests.bench.bench_ingest $(BENCH)
	$(BIN)/python -m tests.bench.bench_warehouse --rows $(ROWS)
	$(BIN)/python -m tests.bench.bench_memory
	$(BIN)/python -m tests.bench.bench_record

bench-pages: $(INSTALLED) ## the figures of speed in README.md, reports/README.md and tests/README.md, measured now (BENCH="--traces FOLDER" for more traces)
	$(BIN)/python -m tests.bench.bench_ingest $(BENCH) --markdown README.md tests/README.md
	$(BIN)/python -m tests.bench.bench_memory --sizes $(MEMORY_SIZES) --markdown tests/README.md
	$(BIN)/python -m tests.bench.bench_pages --markdown reports/README.md
	$(BIN)/python -m tests.bench.bench_record --markdown capture/launching/README.md

check: $(TESTABLE) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

format: $(TESTABLE) ## let ruff repair and format what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pages: $(INSTALLED) ## warehouse/SCHEMA.md and COOKBOOK.md, from schema/comments.toml and cookbook/; the empty warehouse
	$(BIN)/python -m ridgeline.warehouse.documentation

schemas: $(INSTALLED) ## merges the installed PyTorch's operators into analyze/pricing/schemas.txt
	$(BIN)/python -m ridgeline.analyze.pricing.make_schemas

wasm: $(TESTABLE) ## the modules compiled from C to WebAssembly (analyze/**/*.c); installs a C compiler (ziglang) into .venv
	$(BIN)/python -m pip install $(PIP_ARGS) ziglang==0.17.1
	$(BIN)/python -m ridgeline.webassembly

study: $(INSTALLED) ## the study's pages and FINDINGS.md from its lake; with RUNS=folder, of the captured runs there as well
	$(if $(filter command line environment,$(origin RUNS)),$(BIN)/ridgeline analyze "$(RUNS)" --lake $(STUDY)/lake)
	$(BIN)/ridgeline report --lake $(STUDY)/lake -o $(STUDY)
	$(BIN)/python -m ridgeline.reports.study.findings $(STUDY)/lake FINDINGS.md $(STUDY)

capture-study: ## every configuration of the study on a GPU machine, the least that counts first; again to go on; makes no .venv
	@for name in $(EXPERIMENTS); do \
	  $(PYTHON) -m ridgeline capture capture/configs/$$name.toml --out "$(RUNS)/$$name" || exit; \
	done

smoke-gpu: ## does capture work on this GPU? every mode and execution on tiny models, within two minutes; makes no .venv
	$(PYTHON) -m ridgeline capture capture/configs/smoke-gpu.toml --out $(RUNS)

capture-8b: ## the 8B presets on a GPU machine that has torch and transformers already; makes no .venv
	$(PYTHON) -m ridgeline capture capture/configs/8b.toml --out $(RUNS)

clean: ## remove what these targets made, the demo too; captured runs and warehouses stay
	rm -rf $(VENV) $(OLDEST) $(DEMO) build ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
