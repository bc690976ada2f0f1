.PHONY: all test check clean-env

all: .venv/.installed
	.venv/bin/snakemake

test: .venv/.installed
	.venv/bin/pytest

check: .venv/.installed
	sh .ci/check

.venv/.installed: envs/requirements.txt pyproject.toml
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes --requirement envs/requirements.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
