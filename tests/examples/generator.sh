#!/bin/bash
# generator.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
grep -v '^once more' "$work/out" >"$work/rest"
same "$work/rest" <<END
primes: 2 3 5 7 11 13 17 19
that was all: 8 of them
sent 10, mean 10
sent 20, mean 15
sent 60, mean 30
sent 30, mean 30
END
grep -q '^once more: .*nvalid' "$work/out" || fail "resuming a finished coroutine is not refused"
