# For the tests of examples: sourced with the name of the test in $0. A test fails at the first thing that is not
# as expected, and says what.
set -u
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# expect CODE COMMAND...: runs it; what it prints is in $work/out and $work/err.
expect() {
    code=$1
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    if [ "$got" -ne "$code" ]; then
        cat "$work/out" "$work/err" >&2
        fail "exit code $got instead of $code: $*"
    fi
}

# same FILE: it must be equal to standard input.
same() {
    diff -u --label expected --label got - "$1" >&2 || fail "$(basename "$1") is not as expected"
}

# has FILE TEXT: it must contain the text.
has() {
    grep -qF -e "$2" "$1" || { cat "$1" >&2; fail "no \"$2\" in $(basename "$1")"; }
}

# wait_for FILE TEXT: until another process has written it there.
wait_for() {
    for _ in $(seq 600); do
        grep -qsF -e "$2" "$1" && return 0
        sleep 0.05
    done
    cat "$1" >&2
    fail "no \"$2\" came"
}
