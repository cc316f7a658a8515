# RECIPE=… chooses the recipe, RUN=… one of its runs (default: the newest), FORCE=1 does a finished step again,
# CANDIDATE=… names a candidate: compare does it again, export exports it ("best" and "ship" are the verdict's);
# MINUTES=… leaves out of the demo what does not fit. They count where they are typed, behind `make`; of the environment
# RECIPE alone is taken, and what TEXT says.
RECIPE ?= runs/homeowner.toml
ifdef RUNG
$(error RUNG is called CANDIDATE now: make … CANDIDATE=…)
endif
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export OMP_NUM_THREADS ?= $(shell getconf _NPROCESSORS_ONLN)

READY := .venv/.ready
PY := .venv/bin/python
# What a person gives arrives as typed: not expanded by make (a text may hold a dollar sign), one word for the shell.
typed = '$(subst ','\'',$(value $1))'
# To every verb, so that one that does not take it says so.
WORK = $(PY) -m workbench $@ $(call typed,RECIPE) $(call option,RUN,run) $(REDO) $(ONE)
# What is typed behind make alone: machines have a NAME and others in their environment.
said = $(and $(filter command,$(firstword $(origin $1))),$(value $1))
option = $(if $(call said,$1),--$2=$(call typed,$1))
REDO = $(if $(call said,FORCE),--force)
ONE = $(call option,CANDIDATE,candidate)
port = $(if $(call said,PORT),$(call typed,PORT),$1)
# Through the environment, since a text may have several lines; exported under its own name it would be expanded.
unexport TEXT RECIPE RUN CANDIDATE MINUTES FORCE PORT MODEL DTYPE DATA TEST NAME LABEL GROUP CONFIG TO QUANTISE POOL LABELS N SHARE OUT
unexport DOCUMENTS QUERIES RELEVANT BUNDLE TAUGHT ENCODER K
export LABELWRIGHT_TEXT := $(value TEXT)

.DEFAULT_GOAL := help
.PHONY: setup new demo test check optimize train calibrate compare export convert predict serve review next-rows synthesize retrieval dashboard mutants bench vllm-server clean help
setup: $(READY) ## the environment in .venv, pinned by constraints.txt
new: $(READY) ## a first recipe for your rows: make new DATA=tickets.csv [TEST= NAME= TEXT= LABEL= GROUP= CONFIG=]
	@$(PY) -m workbench new $(if $(call said,DATA),$(call typed,DATA),'') $(call option,TEST,test) $(call option,NAME,name) $(call option,LABEL,label) $(call option,GROUP,group) $(call option,CONFIG,config) $(if $(call said,TEXT),--text="$$LABELWRIGHT_TEXT") $(REDO)
demo: $(READY) ## some minutes: a first table, prompt, weights, probabilities, leaderboard, bundle
	@$(WORK) $(call option,MINUTES,minutes)
# In the order in which they are found: doctests, which take moments, come last and fill up what the processes have left.
# By number of tests, as xdist would have it, the files that take a minute for one test come last, and a core waits.
test: $(READY) ## the tests, in as many processes as there are cores (four at most)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
check: $(READY) ## lint, format and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
optimize: $(READY) ## tune the prompt (GEPA)
	@$(WORK)
train: $(READY) ## tune the weights (GRPO)
	@$(WORK)
calibrate: $(READY) ## fit the probabilities
	@$(WORK)
compare: $(READY) ## score everything on test, write the report
	@$(WORK)
export: $(READY) ## write the bundle, check it, register it (CANDIDATE=ship: whatever the comparison says to ship)
	@$(WORK)
convert: $(READY) ## the bundle for another runtime, certified on dev (TO=onnx QUANTISE=int8; docs/leaving.md)
	@$(WORK) $(call option,TO,to) $(call option,QUANTISE,quantise)
predict: $(READY) ## ask the bundle: make predict TEXT='the pool is green'
	@$(WORK) --text="$$LABELWRIGHT_TEXT"
serve: $(READY) ## the bundle over HTTP on 127.0.0.1 (PORT=8080)
	@$(WORK) --port=$(call port,8080)
review: $(READY) ## what people answered to rows in doubt, as a corrected data file
	@$(WORK)
next-rows: $(READY) ## which rows to label next: make next-rows POOL=unlabelled.csv N=50 [SHARE= OUT= MINUTES= TEXT=], then LABELS=sheet.csv
	@$(WORK) $(call option,POOL,pool) $(call option,LABELS,labels) $(call option,N,n) $(call option,SHARE,share) $(call option,OUT,out) $(call option,MINUTES,minutes) $(if $(call said,TEXT),--text="$$LABELWRIGHT_TEXT")
synthesize: $(READY) ## train rows that a larger model writes, checked by a second answer ([synthetic] in the recipe)
	@$(WORK)
retrieval: $(READY) ## what a label is for: make retrieval DOCUMENTS=documents.jsonl QUERIES=queries.jsonl [RELEVANT= BUNDLE= TAUGHT= ENCODER= K= OUT=]
	@$(WORK) $(call option,DOCUMENTS,documents) $(call option,QUERIES,queries) $(call option,RELEVANT,relevant) $(call option,BUNDLE,bundle) $(call option,TAUGHT,taught) $(call option,ENCODER,encoder) $(call option,K,k) $(call option,OUT,out)
dashboard: $(READY) ## MLflow's UI on the runs (PORT=5000)
	@$(WORK) --port=$(call port,5000)
mutants: $(READY) ## plant deliberate faults: the tests must notice each (some minutes)
	@$(PY) tests/mutants/run.py
bench: $(READY) ## measure speed, and how time and memory grow: bench/results
	@$(PY) -m bench
	@$(PY) -m bench.growth
vllm-server: $(READY) ## vLLM on 127.0.0.1 in an environment of its own (MODEL=smollm2, PORT=8000, DTYPE=auto)
	@PORT=$(call port,8000) DTYPE=$(if $(call said,DTYPE),$(call typed,DTYPE)) servers/vllm/serve $(if $(call said,MODEL),$(call typed,MODEL),smollm2)
clean: ## remove caches and build leftovers; runs and the environment stay
	@rm -rf build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A folder without a working pip is what an interrupted start left: it is made again.
# torch comes first and pinned: an open range would pull a newer build with gigabytes of CUDA packages.
$(READY): constraints.txt pyproject.toml
	@echo 'installing into .venv (some minutes the first time)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
