#!/usr/bin/env bash
# Makes the virtual environment from requirements.lock, and installs bubblewrap where it may. Safe to run again.
#     scripts/setup.sh VENV          scripts/setup.sh --for-tests: PostgreSQL, Chromium, Slurm, frictionless, a JupyterHub and an older
#                                    JupyterLab, where it may;
#                                    without one its tests skip and say so
set -euo pipefail
venv=$1
cd "$(dirname "$0")/.."

debian_package() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    echo "installing $1"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
}

if [ "$venv" = --for-tests ]; then
    # Debian keeps a server's programs off the path.
    if ! command -v initdb /usr/lib/postgresql/*/bin/initdb >/dev/null && ! debian_package postgresql; then
        echo "PostgreSQL is missing, its tests will be skipped (Debian: sudo apt install postgresql)" >&2
    fi
    # The browser in which the inert view is attacked.
    if ! command -v chromium >/dev/null && ! debian_package chromium; then
        echo "Chromium is missing, the browser tests will be skipped (Debian: sudo apt install chromium)" >&2
    fi
    # The cluster that runs go to. Its daemons are started by the tests, in a folder of their own.
    for program in slurmctld slurmd munged:munge sbatch:slurm-client; do
        if ! PATH=$PATH:/usr/sbin command -v "${program%%:*}" >/dev/null && ! debian_package "${program##*:}"; then
            echo "Slurm is missing, its tests will be skipped (Debian: sudo apt install slurmctld slurmd slurm-client munge)" >&2
            break
        fi
    done
    # The reference for Table Schema, in an environment of its own beside the benches' peers.
    "${VENV:-.venv}/bin/python" -c 'from bench import peers; peers.environment("frictionless")' ||
        echo "frictionless cannot be installed, the tests that ask it will be skipped" >&2
    # The Hub whose tokens the gateway takes; its proxy is one in Python.
    "${VENV:-.venv}/bin/python" -c 'from bench import peers; peers.environment("jupyterhub")' ||
        echo "JupyterHub cannot be installed, its test will be skipped" >&2
    # The oldest JupyterLab that the extension is to work in.
    "${VENV:-.venv}/bin/python" -c 'from bench import peers; peers.environment("jupyterlab_oldest")' ||
        echo "the oldest JupyterLab cannot be installed, its tests will be skipped" >&2
    exit 0
fi

# 1. The sandbox is the distribution's bubblewrap: no Python package can bring it.
if ! command -v bwrap >/dev/null && ! debian_package bubblewrap; then
    echo "bubblewrap is missing: ask for it (Debian: sudo apt install bubblewrap), then run this again" >&2
    exit 1
fi

# 2. A Python that is supported: the one in $PYTHON, else the first that fits.
python=""
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "Python 3.11, 3.12 or 3.13 with its venv module is needed (Debian: python3-venv)" >&2; exit 1; }

# 3. uv brings the exact versions of the lock in seconds; it is itself pinned here.
started=$SECONDS
echo "making an environment in $venv, once: a minute or two"
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'
# The system's certificates: public bodies have proxies with their own.
export UV_SYSTEM_CERTS=1
# --no-deps: the lock is complete. Resolving again would bring back torch, which requirements.overrides leaves out.
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --require-hashes -r requirements.lock
# setuptools, for building our own package, comes from the lock too: nothing unpinned is fetched.
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e .
# 4. Byte code once, here: a sandbox cannot write any, and would compile its packages anew in every run. Tests of
#    packages, and packages that no run uses, are left out.
"$venv/bin/python" -m compileall -q -j 0 -x '/(tests|statsmodels|mypy|mypyc|pip|setuptools|debugpy|faker/providers)/' \
    "$venv"/lib/python3*/site-packages || true  # some packages ship templates that are no Python
touch "$venv/.ready"
echo "environment ready in $((SECONDS - started)) s"
