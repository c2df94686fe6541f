#!/bin/sh
# Installs the library into a folder of its own and uses it like a stranger: through pkg-config, dynamically and
# statically, and as a meson subproject. Ends with "N passed, N failed".
#
# usage: check.sh SOURCE-ROOT WORK-FOLDER (emptied first)
set -u
source=$(CDPATH='' cd -- "$1" && pwd)
work=$2
passed=0 failed=0

check() {   # what, command...
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "WRONG: $what"
        cat "$work/output"
    fi
}

# What pkg-config says is quoted for a shell: folders may have spaces in their names.
with_flags() {   # pkg-config's options, command...
    flags=$(pkg-config $1 rota) || return
    shift
    eval '"$@"' "$flags"
}

rm -rf "$work"
mkdir -p "$work"
work=$(CDPATH='' cd -- "$work" && pwd)
prefix=$work/prefix
library=$prefix/lib

check 'configures for installing' meson setup --prefix "$prefix" -Dtests=disabled -Dexamples=disabled "$work/build" "$source"
check 'installs' meson install -C "$work/build"
closing_line() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
[ "$failed" -eq 0 ] || closing_line

headers=$(cd "$source" && echo include/rota.h include/rota/*.h)
for file in $headers include/rota/config.h lib/librota.a lib/librota.so lib/librota.so.0 lib/pkgconfig/rota.pc; do
    check "installs $file" test -e "$prefix/$file"
done

export PKG_CONFIG_PATH="$library/pkgconfig"
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$source/meson.build" | head -n 1)
check 'pkg-config gives the version' test "$(pkg-config --modversion rota)" = "$version"
user=$source/tests/install/user/user.c
check 'links with the shared library' with_flags '--cflags --libs' cc -o "$work/dynamic" "$user"
check 'runs with the shared library' env LD_LIBRARY_PATH="$library" "$work/dynamic"
check 'links statically' with_flags '--static --cflags --libs' cc -static -o "$work/static" "$user"
check 'runs statically' "$work/static"
check 'links in the archive' with_flags --cflags cc -o "$work/archive" "$user" "$library/librota.a" -pthread
check 'runs with the archive' "$work/archive"

# Another layout of the public structs must not link.
cp -r "$prefix/include" "$work/other"
sed 's/##_v[0-9]*$/##_v0/' "$prefix/include/rota/config.h" >"$work/other/rota/config.h"
check 'another layout is there' sh -c "! cmp -s '$prefix/include/rota/config.h' '$work/other/rota/config.h'"
check 'another layout does not link' sh -c "! cc -o '$work/mismatch' '$user' -I'$work/other' '$library/librota.a' -pthread"

unset PKG_CONFIG_PATH
cp -r "$source/tests/install/user" "$work/user"
mkdir "$work/user/subprojects"
ln -s "$source" "$work/user/subprojects/rota"
check 'configures as a subproject' meson setup "$work/user/build" "$work/user"
check 'builds and passes as a subproject' meson test -C "$work/user/build"
check 'a subproject builds no tests' test ! -e "$work/user/build/subprojects/rota/tests/rota-tests-plain"
check 'a subproject builds no examples' test ! -e "$work/user/build/subprojects/rota/examples"

closing_line
