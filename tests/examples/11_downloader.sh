#!/bin/bash
# 11_downloader.sh DOWNLOADER DEMO_SITE
. "$(dirname "$0")/lib.sh"
downloader=$1 demo_site=$2

# Nothing but whole files may be in the folder.
only() {
    [ "$(ls "$work/into" | tr '\n' ' ')" = "$1" ] || { ls -la "$work/into" >&2; fail "other files than $1"; }
}

# Its own web, with no time passing: three files at the same time, and one that is not there.
mkdir "$work/into"
ROTA_CLOCK=virtual expect 0 "$downloader" --into "$work/into"
# The four heads come in the same instant, in the order in which the system tells of them.
{ head -n 4 "$work/out" | sort; tail -n +5 "$work/out"; } >"$work/sorted"
same "$work/sorted" <<END
letters.zip: begins, 256000 bytes
lost.zip: 404 Not Found, skipped
maps.zip: begins, 614400 bytes
songs.zip: begins, 921600 bytes
letters.zip: done, 256000 bytes
maps.zip: done, 614400 bytes
songs.zip: done, 921600 bytes
END
[ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "it reported something"; }
only "letters.zip maps.zip songs.zip "
[ "$(wc -c <"$work/into/letters.zip")" -eq 256000 ] || fail "letters.zip has another size"
[ "$(head -c 2 "$work/into/letters.zip")" = PK ] || fail "letters.zip is no zip file"

# A server that dies in the middle of a body.
rm -f "$work/into"/*
"$demo_site" >"$work/site" &
wait_for "$work/site" "neighbour"
at=$(sed -E 's|.*(http://127.0.0.1:[0-9]+)/ and.*|\1|' "$work/site")/files
expect 1 "$downloader" --into "$work/into" "$at/broken.zip" "$at/letters.zip"
has "$work/out" "broken.zip: failed: the connection was closed in the middle of the body"
has "$work/out" "letters.zip: done, 256000 bytes"
only "letters.zip "

# A full disk, as a limit on the sizes of files makes one.
rm -f "$work/into"/*
expect 1 bash -c "ulimit -f 100; exec '$downloader' --into '$work/into' '$at/letters.zip'"
has "$work/out" "letters.zip: failed: "
only ""
expect 1 "$downloader" --into "$work/nowhere" "$at/letters.zip"
has "$work/out" "letters.zip: failed: "

# Ctrl-C.
for signal in INT TERM; do
    rm -f "$work/out"
    "$downloader" --into "$work/into" "$at/endless.zip" >"$work/out" 2>"$work/err" &
    pid=$!
    wait_for "$work/out" "begins"
    for _ in $(seq 100); do [ -e "$work/into/endless.zip.part" ] && break; sleep 0.05; done
    kill -$signal $pid
    wait $pid
    got=$?
    [ $got -eq $((128 + $(kill -l $signal))) ] || fail "exit code $got after SIG$signal"
    has "$work/out" "interrupted"
    only ""
done
exit 0
