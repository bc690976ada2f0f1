#!/bin/sh
# Writes envs/requirements.txt, the one lock, from pyproject.toml. Needs uv (any index; none is recorded).
# Run from the top of the repository: sh envs/lock.sh
exec uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --extra dev pyproject.toml --output-file envs/requirements.txt "$@"
