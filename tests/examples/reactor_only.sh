#!/bin/bash
# reactor_only.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
same "$work/out" <<END
server: a client
client: sends    round 1
client: receives round 1
client: sends    round 2
client: receives round 2
client: sends    round 3
client: receives round 3
server: the client is gone
nothing is left to wait for
END
