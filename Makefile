# make book | course | test | bench | card | lint | map | lock | clean | help. The first use sets up .venv by itself.
PYTHON ?= python3
TIER ?= quick
JOBS ?= 2
DEVICE ?= cuda
TORCH ?= default
SIZE ?= book up
CARD_TIER ?= paper
RECORD ?= $(if $(filter cuda,$(DEVICE)),book/results/kernels/cuda.json,_executed/kernels.json)
BIN := .venv/bin
READY := .venv/.ready
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Real data: a folder named by MULIB_DATA, else the one beside this project, else none.
ifeq ($(origin MULIB_DATA),undefined)
ifneq ($(wildcard ../shared/data),)
export MULIB_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: book course slides pdf test bench card lint map lock clean help setup

book: setup  ## execute all notebooks and build the book (TIER=smoke, quick or paper; default quick)
	$(BIN)/mulib run --tier $(TIER) --jobs $(JOBS)
	$(BIN)/jupyter-book build . --all -W -n --keep-going

course: setup  ## from a built book: editions, assignments for otter and slides into _build/course, the book as a PDF
	$(BIN)/mulib editions _build/course --grader otter
	$(BIN)/mulib slides _build/html/slides
	$(BIN)/mulib print _build/book.pdf

slides: setup  ## the slides anew, into the built book
	$(BIN)/mulib slides _build/html/slides

pdf: setup  ## the built book as one PDF, _build/book.pdf
	$(BIN)/mulib print _build/book.pdf

test: setup  ## run the tests, JOBS files of them at a time
	$(BIN)/python -m pytest --benchmark-skip -n $(JOBS) --dist loadfile --no-loadscope-reorder

bench: setup  ## measure the kernels, and what else has a stated time
	$(BIN)/mulib bench
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

# Stopped at any moment, the tables go on where they were. A record is written only by a card, or where RECORD says.
card: setup  ## on a GPU: test the kernels, record their times, then MUFAC's and CIFAR-10's tables
	$(BIN)/python -m pytest -q -m gpu tests/test_fused.py
	$(BIN)/mulib bench --device $(DEVICE) $(addprefix --size ,$(SIZE)) --json $(RECORD)
	$(BIN)/mulib assess mufac --tier $(CARD_TIER) --device $(DEVICE)
	$(BIN)/mulib assess cifar10 --tier $(CARD_TIER) --device $(DEVICE)

lint: setup  ## check style, notebooks included, and the types of mulib
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

map: setup  ## draw the house and the list of its files into the About page
	$(BIN)/python -m mulib.press.house

# The lock takes OpenCV without its windows: the same cv2, but it loads on a machine without libGL, as servers are.
lock: setup  ## write the exact versions of the build, with hashes, into requirements.lock
	sed 's/^opencv-python\b/opencv-python-headless/' requirements.txt | \
	$(BIN)/uv pip compile --universal --upgrade --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --quiet \
	  --output-file requirements.lock - pyproject.toml

clean:  ## delete what was executed and built; .venv stays
	rm -rf _build _executed

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

# TORCH=cpu takes PyTorch without its CUDA libraries, by version from its own index, all else by the lock.
# Set-up is done once, and again when the lock or pyproject.toml changes; the stamp comes last, so that an
# interrupted set-up is taken up again.
setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "This needs Python 3.11 or newer; $(PYTHON) is older or missing. Name another: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	$(BIN)/python -m pip install --quiet --index-url https://download.pytorch.org/whl/cpu \
	  $$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock)
	awk '/^[a-z]/ { skip = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==/ } !skip' requirements.lock >.venv/cpu.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement .venv/cpu.lock
else
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
endif
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)
