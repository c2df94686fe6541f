#!/bin/bash
# hello.sh PROGRAM
. "$(dirname "$0")/lib.sh"
expect 0 "$1"
same "$work/out" <<END
one: hello
two: hello
END
