#!/usr/bin/env bash
# Resolves pyproject.toml into requirements.lock: all extras, Python 3.11 to 3.13, hashes, no index address in the file.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool" && "$tool/bin/pip" install --quiet 'uv==0.13.9'
"$tool/bin/uv" pip compile pyproject.toml requirements.build --all-extras --universal --python-version 3.11 \
    --override requirements.overrides --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock
