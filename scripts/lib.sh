# What the scripts share: where things are, installing what is missing, and running stages one after the other.
# To be sourced by a script in this folder, whose $0 says where the tree is.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/rota
cpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# ---- tools -------------------------------------------------------------------------------------------

# Servers lie where not every user's PATH leads.
has_program() {
    command -v "$1" >/dev/null && return
    for place in /usr/sbin /usr/lib/postgresql/*/bin /usr/libexec/postgresql*; do
        [ ! -x "$place/$1" ] || return 0
    done
    return 1
}

has() {
    case $1 in
    cc)        command -v cc >/dev/null && printf '#include <stdio.h>\n' | cc -E - >/dev/null 2>&1 ;;
    c++)       command -v c++ >/dev/null ;;
    criterion) command -v pkg-config >/dev/null && pkg-config --exists criterion ;;
    gcc-arm64) command -v aarch64-linux-gnu-gcc >/dev/null && [ -e /usr/aarch64-linux-gnu/lib/libc.a ] ;;
    qemu)      command -v qemu-aarch64-static >/dev/null ;;
    binfmt)    command -v update-binfmts >/dev/null ;;
    readelf)   command -v readelf >/dev/null ;;
    openssl-dev) command -v pkg-config >/dev/null && pkg-config --exists 'openssl >= 3.0' && command -v openssl >/dev/null ;;
    curl-dev)  command -v pkg-config >/dev/null && pkg-config --exists libcurl && has_program nghttpd && has_program openssl ;;
    glib-dev)  command -v pkg-config >/dev/null && pkg-config --exists glib-2.0 ;;
    hiredis-dev) command -v pkg-config >/dev/null && pkg-config --exists hiredis && has_program redis-server ;;
    pq-dev)    command -v pkg-config >/dev/null && pkg-config --exists libpq && has_program initdb ;;
    uv-dev)    command -v pkg-config >/dev/null && pkg-config --exists libuv ;;
    *)         command -v "$1" >/dev/null ;;
    esac
}

# What adapters/ stands on, and the servers that its tests start.
adapter_tools='openssl-dev curl-dev glib-dev hiredis-dev pq-dev uv-dev'

# The packages that bring a tool: Debian and Ubuntu; Fedora; Arch; Alpine. A dash: none known.
packages() {
    case $1 in
    cc)        say 'gcc libc6-dev;     gcc glibc-devel;         gcc;                    gcc musl-dev linux-headers' ;;
    c++)       say 'g++;               gcc-c++;                 gcc;                    g++' ;;
    git)       say 'git;               git;                     git;                    git' ;;
    meson)     say 'meson;             meson;                   meson;                  meson' ;;
    ninja)     say 'ninja-build;       ninja-build;             ninja;                  ninja-build' ;;
    pkg-config) say 'pkg-config;       pkgconf-pkg-config;      pkgconf;                pkgconf' ;;
    python3)   say 'python3;           python3;                 python;                 python3' ;;
    criterion) say 'libcriterion-dev;  criterion-devel;         criterion (AUR);        criterion-dev' ;;
    gdb)       say 'gdb;               gdb;                     gdb;                    gdb' ;;
    clang)     say 'clang;             clang compiler-rt;       clang compiler-rt;      clang compiler-rt' ;;
    valgrind)  say 'valgrind libc6-dbg; valgrind glibc-debuginfo; valgrind;             valgrind' ;;
    musl-gcc)  say 'musl-tools;        musl-gcc musl-libc-static; musl;                 -' ;;
    gcc-arm64) say 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross; -; aarch64-linux-gnu-gcc; -' ;;
    qemu)      say 'qemu-user-static;  qemu-user-static;        qemu-user-static;       qemu-aarch64' ;;
    binfmt)    say 'binfmt-support;    -;                       -;                      -' ;;
    setarch)   say 'util-linux;        util-linux;              util-linux;             util-linux-misc' ;;
    readelf)   say 'binutils;          binutils;                binutils;               binutils' ;;
    npm)       say 'npm;               nodejs-npm;              npm;                    npm' ;;
    openssl-dev) say 'libssl-dev openssl; openssl-devel openssl; openssl;               openssl-dev openssl' ;;
    curl-dev)  say 'libcurl4-openssl-dev nghttp2-server openssl; libcurl-devel nghttp2 openssl; curl nghttp2 openssl; curl-dev nghttp2 openssl' ;;
    glib-dev)  say 'libglib2.0-dev;    glib2-devel;             glib2;                  glib-dev' ;;
    hiredis-dev) say 'libhiredis-dev redis-server; hiredis-devel redis; hiredis redis;  hiredis-dev redis' ;;
    pq-dev)    say 'libpq-dev postgresql; libpq-devel postgresql-server; postgresql;    libpq-dev postgresql' ;;
    uv-dev)    say 'libuv1-dev;        libuv-devel;             libuv;                  libuv-dev' ;;
    *)         die "no package is known for $1" ;;
    esac
}

is_debian() { command -v apt-get >/dev/null && command -v dpkg >/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo; run as root: $*"
    fi
}

name_packages() {
    for tool in "$@"; do
        packages "$tool" | {
            IFS=';' read -r debian fedora arch alpine
            printf '  %-11s Debian: %s | Fedora: %s | Arch: %s | Alpine: %s\n' "$tool" \
                "$(echo $debian)" "$(echo $fedora)" "$(echo $arch)" "$(echo $alpine)"
        }
    done
}

# Makes sure that the named tools are there. With nothing missing it needs neither network nor root.
need() {
    missing= install=
    for tool in "$@"; do
        has "$tool" || missing="$missing $tool"
    done
    [ -n "$missing" ] || return 0
    if ! is_debian; then
        say "missing:$missing. The packages that bring them:"
        name_packages $missing
        return 1
    fi
    for tool in $missing; do
        install="$install $(packages "$tool" | cut -d';' -f1)"
    done
    say "missing:$missing; installing with apt-get:" $install
    as_root apt-get -q update || say "(apt-get update failed; going on with the lists that are there)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $install || return 1
    for tool in $missing; do
        has "$tool" || { say "$tool is still missing after installing its packages"; return 1; }
    done
}

# ---- builds ------------------------------------------------------------------------------------------

# configure FOLDER [meson options]: once; the folder's own choice stays afterwards. With ROTA_WERROR in the environment
# no build may have a warning.
configure() {
    folder=$1
    shift
    # What was missing when the folder was configured (by the demo, say) may have been installed since.
    found=$(for tool in criterion c++ gdb $adapter_tools; do if has "$tool"; then printf '%s ' "$tool"; fi; done)
    if [ ! -e "$folder/build.ninja" ]; then
        meson setup ${ROTA_WERROR:+--werror} "$@" "$folder" "$root"
    elif [ "$found" != "$(cat "$folder/tools-found" 2>/dev/null)" ]; then
        meson setup --reconfigure "$@" "$folder" "$root"
    fi
    printf %s "$found" >"$folder/tools-found"
}

# Options for a build without the adapters that need another library.
without_adapters='-Dtls=disabled -Dcurl=disabled -Dglib=disabled -Dhiredis=disabled -Dpq=disabled -Duv=disabled'

# ---- stages ------------------------------------------------------------------------------------------
# A stage is a function that runs in a subshell of its own under set -e, with its output in a log that is shown
# when it fails. It counts the tests of every runner's closing line in the log (the plain one's, Criterion's, meson's), or itself as one check.

total_passed=0 total_failed=0 summary=

# Exit code of a stage that could not run here; its log says why.
cannot=77

counted() {   # log -> "passed failed"
    awk '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 }
         /Synthesis: Tested:/ { for (i = 1; i < NF; i++) {
             if ($i == "Passing:") p += $(i + 1); if ($i == "Failing:") f += $(i + 1) } }
         /^(Ok|Expected Fail): +[0-9]+/ { p += $NF }
         /^(Fail|Unexpected Pass|Timeout): +[0-9]+/ { f += $NF }
         END { print p + 0, f + 0 }' "$1"
}

stage() {   # name, command...
    name=$1
    shift
    mkdir -p "$root/build/log"
    log=$root/build/log/$name.log
    printf '== %-18s ' "$name"
    start=$(date +%s)
    ( set -e; "$@" ) >"$log" 2>&1 </dev/null
    status=$?
    took=$(($(date +%s) - start))
    set -- $(counted "$log")
    passed=$1 failed=$2
    if [ $status -eq $cannot ]; then
        verdict="cannot run here: $(tail -n 1 "$log")"
        [ -z "${strict:-}" ] || failed=$((failed + 1))
    elif [ $status -ne 0 ]; then
        [ "$failed" -gt 0 ] || failed=1
        verdict=FAILED
    else
        [ $((passed + failed)) -gt 0 ] || passed=1
        verdict=ok
        [ "$failed" -eq 0 ] || verdict=FAILED
    fi
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
    line=$(printf '%-10s %5d passed %3d failed %5d s' "$verdict" "$passed" "$failed" "$took")
    say "$line"
    summary="$summary$(printf '%-18s %s' "$name" "$line")
"
    [ "$verdict" != FAILED ] || { tail -n 60 "$log"; say "(all of it: $log)"; }
}

finish() {
    printf '\n%s%d passed, %d failed\n' "$summary" "$total_passed" "$total_failed"
    [ "$total_failed" -eq 0 ]
    exit
}
