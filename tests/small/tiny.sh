#!/bin/bash
# tiny.sh [emulator...] PROGRAM: clients by bash's own /dev/tcp.
. "$(dirname "$0")/../examples/lib.sh"

"$@" >"$work/server" 2>"$work/errors" &
server=$!
wait_for "$work/server" "listening on port"
port=$(sed -n 's/^listening on port //p' "$work/server")

exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
echo one >&3
echo two >&4
read -r line <&4
[ "$line" = two ] || fail "\"$line\" came back instead of two"
read -r line <&3
[ "$line" = one ] || fail "\"$line\" came back instead of one"
wait_for "$work/server" "clients 2"
exec 3>&- 4>&-
wait_for "$work/server" "clients 0"

# More clients than it has stacks for: those beyond are let go, those before are served.
for i in $(seq 110); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" || fail "client $i cannot connect"
    [ "$i" -ne 1 ] || first=$fd
done
echo still there >&"$first"
read -r line <&"$first"
[ "$line" = "still there" ] || fail "\"$line\" came back instead of still there"

[ -s "$work/errors" ] && { cat "$work/errors" >&2; fail "it reported something"; }
exit 0
