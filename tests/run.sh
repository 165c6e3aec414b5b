#!/bin/bash
# Runs every test project and ends with one line, summed over all of them: N passed, N failed, N skipped.
#
#   run.sh RESULTS_DIR [arguments for dotnet test]
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
results=$1; shift
rm -rf "$results"
mkdir -p "$results"

echo "building the tests"
if ! dotnet build "$root/CriShim.sln" --nologo -v quiet > "$results/build.log" 2>&1; then
    cat "$results/build.log"
    echo "0 passed, 1 failed, 0 skipped" | tee "$results/summary"
    exit 1
fi

# One project after the other: tests that measure time need the machine for themselves.
broken=0
for project in "$root"/tests/*.Tests/*.csproj; do
    name=$(basename "$project" .csproj)
    echo "== $name"
    timeout --kill-after=30s 15m dotnet test "$project" --no-build --nologo --results-directory "$results" \
        --logger "trx;LogFileName=$name.trx" --logger "console;verbosity=minimal" \
        --blame-hang --blame-hang-timeout 5min --blame-hang-dump-type none "$@"
    code=$?
    # A project that ended badly and counts no failed test (it crashed, or hung) must not look like a success.
    if [ "$code" != 0 ] && ! grep -q 'outcome="Failed"' "$results/$name.trx" 2>/dev/null; then
        echo "$name ended with $code and no result" >&2
        broken=$((broken + 1))
    fi
done

cat "$results"/*.trx 2>/dev/null | awk -v broken="$broken" '
    function count(name) { return match($0, name "=\"[0-9]+\"") ? substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 3) + 0 : 0 }
    /<Counters / { total += count("total"); executed += count("executed"); passed += count("passed") }
    END {
        skipped = total - executed; failed = executed - passed + broken
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0
    }' | tee "$results/summary"
exit "${PIPESTATUS[1]}"
