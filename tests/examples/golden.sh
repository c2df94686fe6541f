#!/bin/bash
# golden.sh EXPECTED PROGRAM [ARGUMENT...]: what the program prints under the virtual clock, whole. Standard error may
# hold figures that differ from machine to machine, but no report of the library's.
. "$(dirname "$0")/lib.sh"
expected=$1
shift
export ROTA_CLOCK=virtual
expect 0 "$@"
same "$work/out" <"$expected"
if grep -q '^rota: ' "$work/err"; then
    cat "$work/err" >&2
    fail "the library reported something"
fi
