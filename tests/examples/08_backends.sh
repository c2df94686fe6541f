#!/bin/bash
# 08_backends.sh PROGRAM CRAWL: on every backend of this build the same comes out, to the byte; the crawler's choice is
# made by ROTA_BACKEND.
. "$(dirname "$0")/lib.sh"
export ROTA_CLOCK=virtual RES_OPTIONS="timeout:1 attempts:1"
expect 0 "$1"
cp "$work/out" "$work/backends"
names=$(grep -v '^ ' "$work/backends")
[ -n "$names" ] || fail "no backends"
for name in $names; do
    printf '%s\n  read "hello" after 0.25 s\n' "$name"
done | same "$work/backends"

for name in $names; do
    ROTA_BACKEND=$name expect 0 "$2" --demo --virtual-clock
    # How fast the machine's name server says "no such host" is not ours to test.
    grep -v fakey "$work/out" >"$work/$name"
    [ -s "$work/err" ] && { cat "$work/err" >&2; fail "$name: it reported something"; }
    first=${first:-$name}
    same "$work/$first" <"$work/$name"
done
ROTA_BACKEND=none expect 1 "$2" --demo --virtual-clock
