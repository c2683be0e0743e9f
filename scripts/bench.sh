#!/bin/sh
# List the benchmarks with their first line of documentation, or run one: bench.sh [NAME]
set -eu

python=${VENV:-.venv}/bin/python
name=${1:-}

if [ -n "$name" ]; then
    script=benchmarks/${name%.py}.py
    if ! grep -qs '^if __name__ == ' "$script"; then
        echo "bench: no $script; \`make bench\` lists what there is" >&2
        exit 2
    fi
    exec "$python" -m "benchmarks.${name%.py}"
fi

found=no
for script in benchmarks/*.py; do
    [ -f "$script" ] || continue
    # The others are parts of these.
    grep -q '^if __name__ == ' "$script" || continue
    found=yes
    summary=$("$python" - "$script" <<'PYTHON'
import ast
import pathlib
import sys

tree = ast.parse(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
print((ast.get_docstring(tree) or "").split("\n", 1)[0])
PYTHON
    )
    printf '  make bench BENCH=%-18s %s\n' "$(basename "$script" .py)" "$summary"
done
if [ "$found" = no ]; then
    echo "bench: there is no benchmarks/*.py yet"
fi
