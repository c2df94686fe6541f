#!/usr/bin/env bash
# What the example does: an answer to who trusts the server, a refusal to who does not.
# usage: example_tls_echo.sh EXAMPLE
set -u
example=$1
command -v openssl >/dev/null || { echo 'there is no program openssl'; exit 77; }
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
for name in cert other; do
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$work/$name.key" -out "$work/$name.pem" 2>/dev/null || exit 1
done
for port in 23461 24571 25683 26793 27803; do
    "$example" serve "$work/cert.pem" "$work/cert.key" $port >"$work/listening" 2>"$work/log" &
    server=$!
    until [ -s "$work/listening" ] || ! kill -0 $server 2>/dev/null; do sleep 0.05; done
    [ ! -s "$work/listening" ] || break
done
answer=$("$example" ask "$work/cert.pem" localhost $port 'hello there')
[ "$answer" = 'TLSv1.3: hello there' ] || { echo "answer: $answer"; cat "$work/log"; exit 1; }
if "$example" ask "$work/other.pem" localhost $port hello 2>"$work/refusal"; then
    echo 'a stranger was trusted'
    exit 1
fi
grep -q 'certificate is not accepted: self-signed certificate' "$work/refusal" || { cat "$work/refusal"; exit 1; }
for try in $(seq 100); do
    ! grep -q 'a client was refused: the peer refuses: ' "$work/log" || exit 0
    sleep 0.05
done
echo 'the server says nothing of the refusal'
cat "$work/log"
exit 1
