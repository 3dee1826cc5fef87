#!/bin/sh
# Makes the virtual environment $1 with exactly the packages of the lock file $2, every one checked by its hash.
# Reads PYTHON (default: the newest suitable python3 on the PATH).
set -eu
venv=$1
lock=$2

suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! suits "$venv/bin/python"; then
    chosen=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if suits "$candidate"; then chosen=$candidate; break; fi
    done
    if [ -z "$chosen" ]; then
        echo "setup: Python 3.11 or newer is needed, and none is on the PATH. Install one, or name it: make PYTHON=/path/to/python3 setup" >&2
        exit 1
    fi
    echo "setup: making $venv with $("$chosen" --version) …"
    rm -rf "$venv"
    # Debian's python3 lacks ensurepip unless python3-venv is installed; its pip, if there, can install from outside.
    if ! "$chosen" -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        if ! "$chosen" -m pip --version >/dev/null 2>&1 || ! "$chosen" -m venv --without-pip "$venv"; then
            echo "setup: $chosen has no working venv module. On Debian or Ubuntu: apt install python3-venv" >&2
            exit 1
        fi
    fi
fi

if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    pip="$venv/bin/python -m pip"
else
    pip="$chosen -m pip --python $venv/bin/python"
fi
echo "setup: installing the packages of $lock (600 MB, a few minutes the first time) …"
# shellcheck disable=SC2086 # words of a command
$pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
