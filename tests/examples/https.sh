#!/bin/bash
# https.sh CRAWL SCRAPER DOWNLOADER DEMO_SITE: the examples over https, against the demo site with certificates made
# here. Without TLS, that they say so.
. "$(dirname "$0")/lib.sh"
crawl=$1 scraper=$2 downloader=$3 demo_site=$4

# Is TLS built in? The programs say so in the same words.
if "$demo_site" --certificate /nonexistent --key /nonexistent 2>&1 | grep -qF 'https:// needs TLS'; then
    expect 1 "$crawl" https://127.0.0.1:1/
    has "$work/out" "https:// needs TLS, which this program was built without"
    expect 1 "$crawl" --cacert "$work/nothing" https://127.0.0.1:1/
    has "$work/err" "https:// needs TLS, which this program was built without"
    expect 0 "$scraper" https://127.0.0.1:1/
    has "$work/out" "https:// needs TLS, which this program was built without"
    expect 1 "$downloader" --into "$work" https://127.0.0.1:1/
    has "$work/out" "https:// needs TLS, which this program was built without"
    echo "skipped: the TLS adapter is not built"
    exit 77
fi
command -v openssl >/dev/null || { echo "skipped: there is no program openssl"; exit 77; }

# An authority of ours and somebody else's; a server's certificate for this machine, and one for another name.
for ca in ours theirs; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$ca" -keyout "$work/$ca.key" -out "$work/$ca.pem" \
        2>/dev/null || fail "openssl makes no certificate"
done
certificate() {   # name, subjectAltName
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null &&
        echo "subjectAltName=$2" >"$work/$1.ext" &&
        openssl x509 -req -in "$work/$1.csr" -CA "$work/ours.pem" -CAkey "$work/ours.key" -CAcreateserial -days 2 \
            -extfile "$work/$1.ext" -out "$work/$1.pem" 2>/dev/null || fail "openssl signs no certificate"
}
certificate here DNS:localhost,IP:127.0.0.1
certificate elsewhere DNS:elsewhere.test

serve() {   # name, demo_site's options...: sets $port
    name=$1
    shift
    "$demo_site" "$@" >"$work/$name.site" &
    wait_for "$work/$name.site" "neighbour"
    port=$(sed -E 's|.*127.0.0.1:([0-9]+)/ and.*|\1|' "$work/$name.site")
}
serve plain
plain=http://127.0.0.1:$port
serve here --certificate "$work/here.pem" --key "$work/here.key"
at=https://127.0.0.1:$port named=https://localhost:$port
serve elsewhere --certificate "$work/elsewhere.pem" --key "$work/elsewhere.key"
elsewhere=https://localhost:$port
has "$work/here.site" "https://127.0.0.1:"

# Trusted: by address and by name, whole and in chunks, beside http.
expect 0 "$crawl" --compare --cacert "$work/ours.pem" --svg "$work/out.svg" \
    "$at/garden" "$named/station" "$at/harbour" "$plain/garden"
[ "$(grep -c ' 28 <    24 >     475 bytes  200 OK' "$work/out")" -eq 6 ] ||
    { cat "$work/out" >&2; fail "pages are missing"; }
has "$work/out" "56 <    48 >     983 bytes  200 OK"
has "$work/out" "19 <    16 >     327 bytes  200 OK"
has "$work/out.svg" "$named/station"
[ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "it reported something"; }

# Not trusted, and each failure is its page's own.
expect 1 "$crawl" "$at/garden" "$plain/garden"
has "$work/out" "the peer's certificate is not accepted: "
has "$work/out" "28 <    24 >     475 bytes  200 OK"
expect 1 "$crawl" --cacert "$work/theirs.pem" "$at/garden"
has "$work/out" "the peer's certificate is not accepted: "
expect 1 "$crawl" --cacert "$work/ours.pem" "$elsewhere/garden" "$at/garden" "${plain/http/https}/"
has "$work/out" "the peer's certificate is not accepted: hostname mismatch"
has "$work/out" "28 <    24 >     475 bytes  200 OK"
has "$work/out" "TLS: "
# The system's store is what OpenSSL says it is.
SSL_CERT_FILE=$work/ours.pem expect 0 "$crawl" "$at/garden"

# Redirects: shown; followed to https; not followed back.
expect 0 "$crawl" --cacert "$work/ours.pem" "$plain/to/$named/garden"
has "$work/out" "302 Found, to $named/garden"
expect 0 "$crawl" --follow --cacert "$work/ours.pem" "$plain/to/$plain/to/$named/garden" "$at/to/$plain/garden"
has "$work/out" "28 <    24 >     475 bytes  200 OK, at $named/garden"
has "$work/out" "302 Found, to $plain/garden"
expect 1 "$crawl" --follow --cacert "$work/theirs.pem" "$plain/to/$named/garden"
has "$work/out" "the peer's certificate is not accepted: "

# What is no certificate.
expect 1 "$crawl" --cacert "$work/nothing.pem" "$at/garden"
has "$work/err" "crawl: --cacert $work/nothing.pem: "
expect 1 "$demo_site" --certificate "$work/here.pem" --key "$work/elsewhere.key"
has "$work/err" "demo_site: "
expect 2 "$demo_site" here

# The scraper and the downloader.
expect 0 "$scraper" --cacert "$work/ours.pem" "$at/garden" "$at/station" "$plain/to/$named/market"
[ "$(grep -c 'PAGE  ' "$work/out")" -eq 6 ] || { cat "$work/out" >&2; fail "pages are missing"; }
[ "$(grep -c '   475 bytes' "$work/out")" -eq 2 ] || { cat "$work/out" >&2; fail "a page has another size"; }
expect 0 "$scraper" --cacert "$work/theirs.pem" "$at/garden" "$at/station"
[ "$(grep -c "the peer's certificate is not accepted: " "$work/out")" -eq 4 ] ||
    { cat "$work/out" >&2; fail "a stranger was trusted"; }
mkdir "$work/into"
expect 0 "$downloader" --cacert "$work/ours.pem" --into "$work/into" "$at/files/letters.zip" "$at/files/maps.zip"
has "$work/out" "maps.zip: done, 614400 bytes"
has "$work/out" "letters.zip: done, 256000 bytes"
expect 1 "$downloader" --into "$work/into" --cacert "$work/theirs.pem" "$at/files/songs.zip" "$at/files/letters.zip"
has "$work/out" "songs.zip: failed: the peer's certificate is not accepted: "
has "$work/out" "letters.zip: failed: the peer's certificate is not accepted: "
exit 0
