#!/bin/bash
# resolve.sh PROGRAM: without a network; a server that nobody is, a name that is local, a number.
. "$(dirname "$0")/lib.sh"
expect 0 "$1" --server 127.0.0.1:1 localhost 127.0.0.1
grep -q '^localhost, asked by ourselves: [1-9]' "$work/out" || fail "localhost"
grep -q '^127.0.0.1, asked by ourselves: 1 address in ' "$work/out" || fail "a number"
expect 0 "$1" --server '[::1]:1' name.invalid
grep -q '^name.invalid, asked by ourselves: ' "$work/out" || fail "an error is printed"
expect 2 "$1"
expect 2 "$1" --server 127.0.0.1 localhost
