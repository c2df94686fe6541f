#!/bin/bash
# udp_echo.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
same "$work/out" <<'END'
5 bytes came back: "hello"
0 bytes came back: ""
22 bytes came back: "datagrams have borders"
END
[ -s "$work/err" ] && fail "it reported something"
exit 0
