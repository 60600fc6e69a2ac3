#!/usr/bin/env bash
# Installs what bench/peers sets FastMail beside; root, Debian 12. No service is started: each script runs its servers
# itself, with folders of their own.
#
#   bench/peers/install.sh             Postfix (with smtp-source and smtp-sink), Dovecot, Exim and OpenSMTPD
#   bench/peers/install.sh --haraka    Haraka as well, from npm
#
# Debian installs one MTA at a time, so Exim and OpenSMTPD are only unpacked, below ${XDG_CACHE_HOME:-~/.cache}.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/fastmail-tests

# unpack PACKAGE FOLDER
unpack() {
    local folder
    folder=$(mktemp -d)
    mkdir -p "$2"
    (cd "$folder" && apt-get download -qq "$1" && dpkg -x "$1"_*.deb "$2")
    rm -r "$folder"
}

# add_user NAME
add_user() {
    id "$1" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin "$1"
}

case ${1:-} in
"" | --haraka) ;;
*)
    sed -n '2,/^[^#]/{/^#/s/^# \?//p}' "$0"
    [ "$1" = --help ] && exit 0
    exit 64
    ;;
esac

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
# A service that an installation starts would keep the ports and the memory of the machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm "$policy"' EXIT
fi
apt-get install -y -qq gcc libc6-dev libdb5.3 libevent-2.1-7 python3 util-linux \
    postfix dovecot-core dovecot-lmtpd dovecot-pop3d >/dev/null

add_user Debian-exim
unpack exim4-daemon-light "$cache/exim"
add_user opensmtpd
add_user opensmtpq
unpack opensmtpd "$cache/opensmtpd"

if [ "${1:-}" = --haraka ]; then
    command -v npm >/dev/null || apt-get install -y -qq npm >/dev/null
    npm install --silent --global Haraka --prefix "$cache/npm"
    echo "now: export PATH=$cache/npm/bin:\$PATH"
fi
