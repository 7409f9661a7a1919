#!/bin/sh
# make install into an empty folder; the examples against what was installed; uninstall.
# Run by `tests/run install`.
set -u
cd "${KEXA_TREE:?}" || exit 1
passed=0 failed=0 skipped=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# try WHAT COMMAND...
try() {
    what=$1
    shift
    if "$@" > "$tmp/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: %s\n' "$what" "$*"
        tail -n 15 "$tmp/log"
    fi
}

finish() {
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
    exit
}

try install make install DESTDIR="$tmp/root" PREFIX=/usr
[ "$failed" -eq 0 ] || finish
usr=$tmp/root/usr
PKG_CONFIG_PATH=$usr/lib/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$tmp/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
LD_LIBRARY_PATH=$usr/lib
export LD_LIBRARY_PATH

try version sh -c "[ \"\$($usr/bin/kexa --version)\" = \"kexa \$(pkg-config --modversion kexa)\" ]"
for file in share/man/man1/kexa.1 share/bash-completion/completions/kexa \
    share/zsh/site-functions/_kexa share/fish/vendor_completions.d/kexa.fish \
    lib/libkexa.so.0 lib/libkexa.so share/doc/kexa/LICENSE; do
    try "installed $file" test -s "$usr/$file"
done
try bash-completion bash -n "$usr/share/bash-completion/completions/kexa"
try soname sh -c "objdump -p $usr/lib/libkexa.so | grep -q 'SONAME.*libkexa.so.0\$'"
# Both libraries show kexa_ names and nothing else.
try names-shared sh -c "nm -D --defined-only $usr/lib/libkexa.so | awk '{ print \$NF }' |
    sort -u > $tmp/shared; grep -q '^kexa_model_open\$' $tmp/shared &&
    ! grep -v '^kexa_' $tmp/shared"
try names-static sh -c "nm -g --defined-only $usr/lib/libkexa.a | awk 'NF == 3 { print \$3 }' |
    sort -u > $tmp/static; grep -q '^kexa_model_open\$' $tmp/static &&
    ! grep -v '^kexa_' $tmp/static"

prompt='The capital of France is'
for source in examples/*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2046  # words on purpose
    try "$name shared" cc -std=c11 -Wall -Wextra -Werror -o "$tmp/$name" "$source" \
        $(pkg-config --cflags --libs kexa) -lm
    # shellcheck disable=SC2046
    try "$name static" cc -std=c11 -o "$tmp/$name-static" "$source" \
        $(pkg-config --cflags kexa) "$usr/lib/libkexa.a" \
        $(pkg-config --libs jansson libutf8proc libpcre2-8 libzstd) -lm -pthread
    if [ -z "${KEXA_MODEL:-}" ]; then
        echo "skip $name: no model"
        skipped=$((skipped + 1))
        continue
    fi
    try "$name runs" sh -c "$tmp/$name $KEXA_MODEL '$prompt' > $tmp/$name.out"
    try "$name static same" sh -c "$tmp/$name-static $KEXA_MODEL '$prompt' | cmp - $tmp/$name.out"
done
[ -z "${KEXA_MODEL:-}" ] || try "generate says Paris" grep -q Paris "$tmp/generate.out"

try uninstall make uninstall DESTDIR="$tmp/root" PREFIX=/usr
try "nothing is left" sh -c "! find $tmp/root ! -type d | grep ."
finish
