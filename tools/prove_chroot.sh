#!/bin/sh
# Proves `./go chat` and `./go test` on a fresh Debian bookworm: in one new system as root, in
# another as a user who may sudo; each with and without a terminal.  Needs root, debootstrap and
# about 4 GB.
#
#   tools/prove_chroot.sh FOLDER [chat|test|all]     (FOLDER is made and kept)
#
# The clone is the last commit of this tree.  Where packages come from is this machine's own
# configuration (apt sources, pip.conf, certificates, proxies), copied at run time.
set -eu
folder=${1:?usage: tools/prove_chroot.sh FOLDER [chat|test|all]}
what=${2:-all}
here=$(cd "$(dirname "$0")/.." && pwd)
base=$folder/base
mkdir -p "$folder"

say() { printf '== %s\n' "$*"; }

mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
        2> /dev/null |
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' |
        grep -v security | head -n 1
}

# This machine's ways to its registries, so that the new system can reach them too.
copy_configuration() {
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
        [ ! -f "$file" ] || cp -L "$file" "$1$file"
    done
    # Beside, not in place of, what the package ca-certificates will write.
    cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$1/etc/host-certificates.crt"
    cp -rL /etc/apt/apt.conf.d/. "$1/etc/apt/apt.conf.d/"
    rm -f "$1"/etc/apt/sources.list
    cp -rL /etc/apt/sources.list.d/. "$1/etc/apt/sources.list.d/"
    [ ! -f /etc/apt/sources.list ] || cp -L /etc/apt/sources.list "$1/etc/apt/"
}

make_base() {
    [ ! -f "$base/etc/debian_version" ] || return 0
    say "debootstrap bookworm"
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=sudo bookworm "$base.new" "$(mirror)" \
        > "$folder/log" 2>&1
    mv "$base.new" "$base"
}

# enter ROOT USER COMMAND: with the environment of a login and this machine's proxies only.
enter() {
    root=$1 user=$2
    shift 2
    home=/root
    [ "$user" = root ] || home=/home/$user
    set -- chroot "--userspec=$user" "$root" env -i HOME="$home" USER="$user" TERM=xterm \
        LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
        ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \
        PIP_CERT=/etc/host-certificates.crt SSL_CERT_FILE=/etc/host-certificates.crt \
        sh -c "cd ~/kexa && $1"
    "$@"
}

prepare() {
    root=$1 user=$2
    say "a fresh system for $user: $root"
    cp -a "$base" "$root"
    copy_configuration "$root"
    mkdir -p "$root/proc" "$root/dev"
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount --bind /dev/pts "$root/dev/pts"
    if [ "$user" != root ]; then
        chroot "$root" useradd -m -s /bin/bash "$user"
        echo "$user ALL=(ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/$user"
        home=$root/home/$user
    else
        home=$root/root
    fi
    git clone -q "$here" "$home/kexa"
    chroot "$root" chown -R "$user" "${home#"$root"}/kexa"
}

finish() {
    umount "$1/dev/pts" "$1/dev" "$1/proc" 2> /dev/null || true
}

prove() {
    root=$folder/$1 user=$1
    [ ! -d "$root" ] || { finish "$root"; rm -rf "$root"; }
    trap 'finish "$root"' EXIT
    prepare "$root" "$user"
    ask='The capital of France is'
    chat='./go chat --temp 0 -n 40'
    if [ "$what" != test ]; then
        say "$user: ./go chat, no terminal"
        printf '%s\n/quit\n' "$ask" | enter "$root" "$user" "$chat" |
            tee "$folder/said"
        grep -q Paris "$folder/said"
        say "$user: ./go chat in a terminal"
        enter "$root" "$user" "(sleep 5; echo '$ask'; sleep 20; echo /quit; sleep 2) |
            script -qec '$chat' /dev/null" | tee "$folder/said"
        grep -q Paris "$folder/said"
    fi
    if [ "$what" != chat ]; then
        say "$user: ./go test, no terminal"
        enter "$root" "$user" "CI=true ./go test < /dev/null"
    fi
    finish "$root"
    trap - EXIT
}

make_base
prove root
prove kim
say "proved: $what, as root and as a user with sudo"
