#!/bin/bash
# child_process.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
# Some systems' uniq aligns the counts otherwise.
sed 's/^ *\([0-9]\) /\1 /; s/^\(no-such-program\): .*/\1: &/; s/: no-such-program: .*//' "$work/out" >"$work/said"
same "$work/said" <<END
output: hello from /
errors: and a complaint
exit code: 3
2 and
1 bird
1 cat
1 dog
3 the
cat said hello and was ended by signal 15
after 300 ms: timed out
no-such-program
END
