#!/bin/bash
# unix_fd_passing.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
same "$work/out" <<'END'
1 descriptor with the label "pipe"
read: through a pipe that travelled
END
[ -s "$work/err" ] && fail "it reported something"
exit 0
