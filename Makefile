# make run        sets everything up, fetches MovieLens 100K, runs the pipeline, prints the verdict
# make test       sets everything up, runs every test
# make check      style, types and the fast tests
# make lint       style and types alone
# make bench      the notebook as a script, a plain TFX pipeline and this one, side by side on MovieLens 100K
# make bench-scale  this pipeline on 0.1, 1 and 10 million synthetic ratings (ARGS="--largest 25M" goes on)
# make bench-forms  `data prepare` of 25 million ratings in every form that it reads (ARGS="--rows 1000000")
# make serve      serves the pushed models of output/ over REST and gRPC (ARGS="--rest-port 80" and the like)
# make screenshots  pictures of the pages of `serve` for docs/images, of the model in output/ (ARGS="FOLDER" for another)
# make setup      the environment alone (LANE=current or LANE=legacy forces a dependency lane)
# make compile    the pipeline as a job for Vertex AI or Kubeflow: ARGS="--pipeline-root gs://… --data gs://… --image …"
# make image      the container image (IMAGE=name:tag), or the server's alone (TARGET=serve)
# make lock       compiles the lock files of both lanes and of the image anew (UPGRADE=1 takes newer releases)
# make clean      removes the environment, the outputs and the caches in this folder
# ARGS="..." is passed on: make run ARGS="--preset fast", make test ARGS="-k serving".
SHELL := /bin/bash
LANE ?=
ARGS ?=
BIN := .venv/bin
IMAGE ?= movie-ranking:latest

.PHONY: run test check lint bench bench-scale bench-forms serve screenshots compile image setup lock clean

setup:
	@LANE=$(LANE) requirements/setup.sh

run: setup
	@$(BIN)/movie-ranking run $(ARGS)

test: setup
	@$(BIN)/python -m pytest $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

bench: setup
	@$(BIN)/python -m tests.bench.bench laptop $(ARGS)

bench-scale: setup
	@$(BIN)/python -m tests.bench.bench scale $(ARGS)

bench-forms: setup
	@$(BIN)/python -m tests.bench.bench forms $(ARGS)

serve: setup
	@$(BIN)/movie-ranking serve $(ARGS)

screenshots: setup
	@$(BIN)/python -m tests.pipeline.serving.page.screenshots $(ARGS)

compile: setup
	@$(BIN)/movie-ranking compile $(ARGS)

image:
	docker build $(if $(TARGET),--target $(TARGET)) --tag $(IMAGE) .

COMPILE = $(BIN)/uv pip compile -q --native-tls --generate-hashes --no-annotate --extra kfp --extra vertex setup.py
UPDATE = $(if $(UPGRADE),--upgrade)

lock: setup
	$(COMPILE) $(UPDATE) --extra dev --universal --python-version 3.11 -o requirements/current.txt
	$(COMPILE) $(UPDATE) --extra dev --python-version 3.10 --python-platform x86_64-manylinux_2_28 -o requirements/legacy.txt
	@# The image's is the current lane's without its tools: the same versions, as the constraint sees to.
	rm -f requirements/image.txt
	$(COMPILE) --constraint requirements/current.txt --universal --python-version 3.11 -o requirements/image.txt
	@# The server's image has a part of the same.
	rm -f requirements/serve.txt
	$(BIN)/uv pip compile -q --native-tls --generate-hashes --no-annotate --constraint requirements/current.txt \
	  --universal --python-version 3.11 requirements/serve.in -o requirements/serve.txt

clean:
	rm -rf .venv output .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
