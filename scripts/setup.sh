#!/bin/sh
# Create or repair the virtual environment: setup.sh runtime|dev
#
# VENV         where it goes (.venv)
# PYTHON       interpreter to use; empty takes the first one that is new enough
# TORCH_INDEX  package index for torch alone; empty uses pip's own settings
# VERSIONS     lowest or newest of those that pyproject.toml allows, torch aside; empty takes those
#              that the project is tested with, constraints.txt
#
# Stamps ($VENV/.installed-*) are written last, so an installation that was cut short is redone. One
# that was cut short inside pip may have left half a package behind: it starts from an empty folder.
set -eu

kind=$1
venv=${VENV:-.venv}
python=$venv/bin/python
unfinished=$venv/.unfinished

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && { echo "$PYTHON"; return; }
        echo "setup: PYTHON=$PYTHON is not Python 3.11 or newer. Name another, for example:" \
            "make PYTHON=/usr/bin/python3.12" >&2
        exit 1
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        new_enough "$name" && { echo "$name"; return; }
    done
    found=$(python3 --version 2>&1) || found="no python3"
    echo "setup: SafeCompress needs Python 3.11 or newer; found: $found. Install one, or name it:" \
        "make PYTHON=/path/to/python3.12" >&2
    exit 1
}

create() {
    base=$(find_python) || exit 1
    echo "setup: creating $venv with $base ($("$base" --version 2>&1))"
    rm -rf "$venv"
    # Some systems ship Python without ensurepip or the venv module; both ways around need no
    # package manager.
    "$base" -m venv "$venv" >/dev/null 2>&1 && has_pip && return
    rm -rf "$venv"
    "$base" -m venv --without-pip "$venv" >/dev/null 2>&1 &&
        "$base" -m pip --python "$python" install --quiet pip && has_pip && return
    rm -rf "$venv"
    "$base" -m virtualenv --quiet "$venv" && has_pip && return
    rm -rf "$venv"
    echo "setup: $base cannot create a virtual environment. Install its venv module (on Debian and" \
        "Ubuntu: apt install python3-venv) or virtualenv, and try again." >&2
    exit 1
}

has_pip() {
    "$python" -m pip --version >/dev/null 2>&1
}

install() {
    # Compiling every module of every package takes two minutes of one core, and most are never
    # imported; `compile_used` does those that are.
    # pip undoes what it could not finish; only one that was killed leaves halves behind.
    "$python" -m pip install --quiet --no-compile "$@" || {
        code=$?
        [ "$code" -gt 128 ] || rm -f "$unfinished"
        exit "$code"
    }
}

compile_used() {
    # What a run imports is compiled here even where the environment forbids Python to keep what it
    # compiles: there each command would compile it again.
    PYTHONDONTWRITEBYTECODE='' "$python" -c 'import safecompress.audit, safecompress.compress, torch._dynamo'
}

if [ -e "$unfinished" ] || ! new_enough "$python" || ! has_pip; then
    create
fi

case $kind in
    runtime) target=. ;;
    dev) target='.[dev]' ;;
    *) echo "setup: expected runtime or dev, got $kind" >&2; exit 1 ;;
esac

echo "setup: installing into $venv; the first time, torch alone takes a minute or more"
: >"$unfinished"
install --upgrade pip
constraints=constraints.txt
case ${VERSIONS:-} in
    '') ;;
    lowest) constraints=$venv/lowest.txt; "$python" scripts/lowest.py >"$constraints" ;;
    newest) constraints=$venv/newest.txt; grep '^torch==' constraints.txt >"$constraints" ;;
    *) echo "setup: expected VERSIONS=lowest or newest, got $VERSIONS" >&2; exit 1 ;;
esac
if [ -n "${TORCH_INDEX:-}" ]; then
    install -c "$constraints" --index-url "$TORCH_INDEX" torch
fi
install -c "$constraints" -e "$target"
compile_used
rm -f "$unfinished"

: >"$venv/.installed-runtime"
if [ "$kind" = dev ]; then
    : >"$venv/.installed-dev"
fi
