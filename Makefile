# make        set up what is needed, then build the shipped review
# make test   the same set-up, then the tests
# make check  the same set-up, then the linters
# make lock   write the lock and the conda files anew from pyproject.toml (needs uv)
# make clean  remove the results, Snakemake's records of them, and caches; .venv stays
.PHONY: all test check lock clean setup

all: setup
	.venv/bin/snakemake

test: setup
	.venv/bin/pytest

check: setup
	sh .ci/check

lock:
	sh envs/lock.sh
	sh workflow/setup.sh
	.venv/bin/python envs/conda.py

clean:
	rm -rf results .snakemake .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

setup:
	@sh workflow/setup.sh
