#!/bin/bash
# Runs the long form of every proof and renews the table in tests/README.md.
#
#   proof.sh [filter for dotnet test]
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
filter=${1:+&($1)}
export CRISHIM_PROOF=long
rm -rf "$root/out/proof"
mkdir -p "$root/out/proof"
code=0
for project in "$root"/tests/*.Tests/*.csproj; do
    grep -rqs --include='*.cs' 'Trait(Proof.Category' "$(dirname "$project")" || continue
    dotnet build "$project" -c Release --nologo -v quiet > "$root/out/proof/build.log" 2>&1 || { cat "$root/out/proof/build.log"; exit 1; }
    echo "== $(basename "$project" .csproj)"
    dotnet test "$project" -c Release --no-build --nologo --filter "(Category=Proof|Category=LongProof)$filter" --logger "console;verbosity=normal" || code=1
done
[ "$code" = 0 ] || { echo "a proof failed: the table is left as it was" >&2; exit "$code"; }

# Lines of proofs that did not run this time stay.
awk -F '\t' -v figures="$root/out/proof/figures.tsv" -v day="$(date +%Y-%m-%d)" '
    BEGIN { while ((getline line < figures) > 0) { split(line, f, "\t"); new[f[1] " | " f[2]] = f[3]; order[++n] = f[1] " | " f[2] } }
    /<!-- proof: end -->/ { for (i = 1; i <= n; i++) if (order[i] in new) { print "| " order[i] " | " new[order[i]] " | " day " |"; delete new[order[i]] } }
    /<!-- proof: begin -->/ { inside = 1 }
    /<!-- proof: end -->/ { inside = 0 }
    {
        if (inside && match($0, /^\| [^|]* \| [^|]* \|/)) {
            key = substr($0, 3, RLENGTH - 4)
            if (key in new) { print "| " key " | " new[key] " | " day " |"; delete new[key]; next }
        }
        print
    }' "$root/tests/README.md" > "$root/out/proof/README.md" && cp "$root/out/proof/README.md" "$root/tests/README.md"
