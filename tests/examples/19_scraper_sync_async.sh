#!/bin/bash
# 19_scraper_sync_async.sh SCRAPER DEMO_SITE: the time of day aside, the same to the byte.
. "$(dirname "$0")/lib.sh"
ROTA_CLOCK=virtual expect 0 "$1"
sed -E 's/^\[[0-9]{2}:[0-9]{2}:[0-9]{2}\]/[HH:MM:SS]/' "$work/out" >"$work/log"
same "$work/log" <<END
Synchronous
[HH:MM:SS] START    http://library.test/
[HH:MM:SS] RESPONSE http://library.test/
[HH:MM:SS] PAGE     http://library.test/
[HH:MM:SS] START    http://market.test/
[HH:MM:SS] RESPONSE http://market.test/
[HH:MM:SS] PAGE     http://market.test/
[HH:MM:SS] START    http://theatre.test/
[HH:MM:SS] RESPONSE http://theatre.test/
[HH:MM:SS] PAGE     http://theatre.test/
  http://library.test/        16834 bytes
  http://market.test/          2411 bytes
  http://theatre.test/         1355 bytes
Ran in 1.370 secs

Asynchronous
[HH:MM:SS] START    http://library.test/
[HH:MM:SS] START    http://market.test/
[HH:MM:SS] START    http://theatre.test/
[HH:MM:SS] RESPONSE http://library.test/
[HH:MM:SS] PAGE     http://library.test/
[HH:MM:SS] RESPONSE http://market.test/
[HH:MM:SS] PAGE     http://market.test/
[HH:MM:SS] RESPONSE http://theatre.test/
[HH:MM:SS] PAGE     http://theatre.test/
  http://library.test/        16834 bytes
  http://market.test/          2411 bytes
  http://theatre.test/         1355 bytes
Ran in 0.620 secs

END
[ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "it reported something"; }

# Other people's pages, by the real clock.
"$2" >"$work/site" &
wait_for "$work/site" "neighbour"
at=$(sed -E 's|.*(http://127.0.0.1:[0-9]+)/ and.*|\1|' "$work/site")
expect 0 "$1" "$at/garden" "$at/station"
has "$work/out" "PAGE     $at/garden"
has "$work/out" "Ran in"
exit 0
