#!/bin/bash
# echo.sh PROGRAM: clients by bash's own /dev/tcp.
. "$(dirname "$0")/lib.sh"

start() {
    rm -f "$work/server"   # or the port of the one before may be read
    "$@" >"$work/server" 2>"$work/errors" &
    server=$!
    wait_for "$work/server" "listening on"
    port=$(sed -n 's/^listening on .* port //p' "$work/server")
}

# A client is echoed; one that says nothing is let go.
start "$1" --host 127.0.0.1 --port 0 --idle 0.3
exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
echo one >&3
echo two >&4
read -r line <&4
[ "$line" = two ] || fail "\"$line\" came back instead of two"
read -r line <&3
[ "$line" = one ] || fail "\"$line\" came back instead of one"
read -r line <&3 && fail "an idle client got \"$line\" instead of the end"
exec 3>&- 4>&-
kill -TERM "$server"
wait "$server" || fail "exit code $? after SIGTERM"

# After SIGINT nobody new is served, but who is there may go on.
start "$1" --host 127.0.0.1 --port 0 --idle 30 --drain 30
exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
echo before >&3
read -r line <&3
kill -INT "$server"
wait_for "$work/server" draining
for _ in $(seq 100); do
    (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    sleep 0.05
done
(exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail "it still listens while it drains"
echo after >&3
read -r line <&3
[ "$line" = after ] || fail "\"$line\" came back while draining"
exec 3>&-
wait "$server" || fail "exit code $? after draining"

# A client that stays is not waited for longer than --drain.
start "$1" --host 127.0.0.1 --port 0 --drain 0.2
exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
echo here >&3
read -r line <&3
kill -TERM "$server"
wait "$server" || fail "exit code $? after the drain's end"
read -r line <&3 && fail "\"$line\" after the end"

[ -s "$work/errors" ] && { cat "$work/errors" >&2; fail "it reported something"; }
expect 2 "$1" --port 65536
expect 2 "$1" --port x
expect 2 "$1" --idle -1
expect 2 "$1" extra
expect 0 "$1" --help
exit 0
