# shellcheck shell=bash
# lib.sh - what every lint check shares.  A check is a script here; it is given a source tree, prints one
# line "check: file:line: what" for each finding, and fails if there was one.
set -uo pipefail
lint_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${1:-$lint_dir/../..}" || exit 2
check=$(basename "$0")

# Files of the tree by pattern, without what is built.
files() {
    local pattern names=()
    for pattern in "$@"; do names+=(-o -name "$pattern"); done
    find . \( -name build -o -name .git \) -prune -o -type f \( "${names[@]:1}" \) -print | sed 's|^\./||' | LC_ALL=C sort
}

# C code of the given files, "file:line:code", comments and literals taken out.
c_code() {
    [ $# -eq 0 ] || awk -f "$lint_dir/code.awk" "$@"
}

# Reads findings "file:line: what", prints them under the check's name, sets the exit status.
report() {
    sed "s/^/$check: /" | awk '{ print } END { exit NR > 0 }'
}
