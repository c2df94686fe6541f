#!/bin/bash
# crawl.sh CRAWL DEMO_SITE
. "$(dirname "$0")/lib.sh"
crawl=$1 demo_site=$2

# How fast the machine's name server says "no such host", or whether it answers at all, is not ours to test.
export RES_OPTIONS="timeout:1 attempts:1"
no_host() {
    sed -E 's/^( *[0-9.]+ s )?(.*fakey\.fakefake\/) .*/\2  NO HOST/'
}

# The demo, with no time passing: lines come in the order in which the pages finish.
expect 0 "$crawl" --demo --virtual-clock --svg "$work/demo.svg"
no_host <"$work/out" | sed "s|$work/||" >"$work/demo"
same "$work/demo" <<END
One after the other:
   0.040 s  http://garden.test/         28 <    24 >     475 bytes  200 OK
   1.200 s  http://museum.test/        199 <   170 >    3428 bytes  200 OK
   0.150 s  http://station.test/        56 <    48 >     983 bytes  200 OK
 http://fakey.fakefake/  NO HOST
   0.300 s  http://library.test/       934 <   800 >   16834 bytes  200 OK
   0.080 s  http://archive.test/lost     3 <     2 >      49 bytes  404 Not Found
   0.000 s  http://closed.test/       connection refused
   0.840 s  http://harbour.test/        19 <    16 >     327 bytes  200 OK
   0.450 s  http://market.test/        140 <   120 >    2411 bytes  200 OK
   0.620 s  http://theatre.test/        77 <    66 >    1355 bytes  200 OK

All at once:
   0.000 s  http://closed.test/       connection refused
 http://fakey.fakefake/  NO HOST
   0.040 s  http://garden.test/         28 <    24 >     475 bytes  200 OK
   0.080 s  http://archive.test/lost     3 <     2 >      49 bytes  404 Not Found
   0.150 s  http://station.test/        56 <    48 >     983 bytes  200 OK
   0.300 s  http://library.test/       934 <   800 >   16834 bytes  200 OK
   0.450 s  http://market.test/        140 <   120 >    2411 bytes  200 OK
   0.620 s  http://theatre.test/        77 <    66 >    1355 bytes  200 OK
   0.840 s  http://harbour.test/        19 <    16 >     327 bytes  200 OK
   1.200 s  http://museum.test/        199 <   170 >    3428 bytes  200 OK

Results, in the order of the list (times: one after the other, all at once):
  1  http://garden.test/         0.040 s    0.040 s    28 <    24 >     475 bytes  200 OK
  2  http://museum.test/         1.200 s    1.200 s   199 <   170 >    3428 bytes  200 OK
  3  http://station.test/        0.150 s    0.150 s    56 <    48 >     983 bytes  200 OK
  4  http://fakey.fakefake/  NO HOST
  5  http://library.test/        0.300 s    0.300 s   934 <   800 >   16834 bytes  200 OK
  6  http://archive.test/lost    0.080 s    0.080 s     3 <     2 >      49 bytes  404 Not Found
  7  http://closed.test/         0.000 s    0.000 s  connection refused
  8  http://harbour.test/        0.840 s    0.840 s    19 <    16 >     327 bytes  200 OK
  9  http://market.test/         0.450 s    0.450 s   140 <   120 >    2411 bytes  200 OK
 10  http://theatre.test/        0.620 s    0.620 s    77 <    66 >    1355 bytes  200 OK

one after the other    3.680 s
all at once            1.200 s, the slowest page 1.200 s
ratio                    3.1
waterfall            demo.svg
END
[ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "it reported something"; }
has "$work/demo.svg" "museum.test/</text>"
has "$work/demo.svg" "All at once: 1.200 s"
has "$work/demo.svg" "ms: reading from"
[ "$(tail -n 1 "$work/demo.svg")" = "</svg>" ] || fail "the picture has no end"

# Twice the same, to the byte.
cp "$work/out" "$work/first"
expect 0 "$crawl" --demo --virtual-clock --svg "$work/demo.svg"
no_host <"$work/out" >"$work/second"
no_host <"$work/first" | same "$work/second"

# One worker, or two, and a deadline that the slowest page misses.
expect 0 "$crawl" --demo --virtual-clock --jobs 1
has "$work/out" "Several at once:"
has "$work/out" "ratio                    1.0"
expect 0 "$crawl" --demo --virtual-clock --timeout 1
has "$work/out" "museum.test/         1.000 s    1.000 s  timed out: connected, but no answer came"
has "$work/out" "harbour.test/        0.840 s"

# Against a server of its own process, by the real clock.
"$demo_site" >"$work/site" &
wait_for "$work/site" "neighbour"
port=$(sed -E 's|.*127.0.0.1:([0-9]+)/ and.*|\1|' "$work/site")
refused=$(sed -E 's|.*127.0.0.1:([0-9]+)/$|\1|' "$work/site")
at=http://127.0.0.1:$port
expect 0 "$crawl" "$at/garden" "$at/nowhere"
has "$work/out" "28 <    24 >     475 bytes  200 OK"
has "$work/out" "404 Not Found"
expect 1 "$crawl" --timeout 1.5 --svg "$work/list.svg" ftp://example.org/ example.org "http://127.0.0.1:$refused/" \
    "$at/silence" "$at/garden"
has "$work/out" "only http:// and https:// are understood"
has "$work/out" "not a URL: it must begin with http://"
has "$work/out" "connection refused"
has "$work/out" "timed out: connected, but no answer came"
has "$work/out" "28 <    24 >     475 bytes  200 OK"
has "$work/list.svg" "Where the time went"

# Ctrl-C: what finished is printed, the rest is named, and the exit code tells.
for signal in INT TERM; do
    rm -f "$work/out" # what the last run left must not look like this one's
    "$crawl" --jobs 2 "$at/garden" "$at/silence" "$at/silence" "$at/garden" >"$work/out" 2>"$work/err" &
    pid=$!
    wait_for "$work/out" "200 OK"
    kill -$signal $pid
    wait $pid
    got=$?
    [ $got -eq $((128 + $(kill -l $signal))) ] || fail "exit code $got after SIG$signal"
    grep -q "1  $at/garden .* 200 OK" "$work/out" || fail "what finished is missing"
    grep -q "2  $at/silence .* cancelled" "$work/out" || fail "what was under way is missing"
    grep -q "4  $at/garden .* not started" "$work/out" || fail "what had not begun is missing"
    [ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "it reported something"; }
done

# The demo's child goes when its parent is killed, however that happens.
"$crawl" --demo >"$work/out" 2>&1 &
pid=$!
wait_for "$work/out" "garden.test"
child=$(ps -o pid= --ppid $pid 2>/dev/null | tr -d ' ')
disown $pid  # or the shell reports the kill
kill -KILL $pid
if [ -n "$child" ]; then
    for _ in $(seq 100); do
        kill -0 "$child" 2>/dev/null || break
        sleep 0.05
    done
    kill -0 "$child" 2>/dev/null && fail "the demo's servers outlive the crawler"
fi

# Wrong use.
for arguments in "" "--timeout 0 x" "--timeout nan x" "--jobs 0 x" "--jobs 1x x" "--demo x" "--virtual-clock x" "--nonsense"; do
    expect 2 "$crawl" $arguments
done
expect 0 "$crawl" --help
expect 1 "$crawl" --demo --virtual-clock --svg /nonexistent/demo.svg
has "$work/err" "/nonexistent/demo.svg: "
exit 0
