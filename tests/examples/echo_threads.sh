#!/bin/bash
# echo_threads.sh PROGRAM: clients by bash's own /dev/tcp.
. "$(dirname "$0")/lib.sh"
for threads in 1 3; do
    rm -f "$work/server"
    "$1" 0 "$threads" >"$work/server" 2>"$work/errors" &
    server=$!
    wait_for "$work/server" "with $threads threads"
    port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$work/server")
    for _ in 1 2 3 4 5 6 7 8; do
        exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
        echo line >&3
        read -r line <&3
        [ "$line" = line ] || fail "\"$line\" came back"
        exec 3>&-
    done
    exec 3<>"/dev/tcp/127.0.0.1/$port" || fail "cannot connect"
    kill -TERM "$server"
    wait "$server" || fail "exit code $? after SIGTERM"
    read -r line <&3 && fail "\"$line\" after the end"
    exec 3>&-
    has "$work/server" "40 bytes echoed"
    [ -s "$work/errors" ] && { cat "$work/errors" >&2; fail "it reported something"; }
done
expect 2 "$1" 65536
expect 2 "$1" 0 0
expect 2 "$1" x
exit 0
