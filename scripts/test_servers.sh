#!/bin/sh
# Unpacks Cyrus and Courier for the contract tests into build/servers (or $1), from Debian packages and without
# installing them: both would conflict with Dovecot. Needs no rights. Without apt, or without these packages, it
# says so and the tests that want them skip.
set -eu
cd "$(dirname "$0")/.."
target=${1:-build/servers}

say() { printf '%s\n' "$*" >&2; }

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 \
  || { say "Cyrus and Courier are taken from Debian packages, and this is no such system."; exit 1; }
stamp="$target/.unpacked"
wanted=$(cksum < "$0")
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

rm -rf "$target"
mkdir -p "$target"
packages=$(mktemp -d)
known=$(mktemp)
trap 'rm -rf "$packages" "$known"' EXIT
apt-cache pkgnames | sort > "$known"
if ! grep -qx cyrus-common "$known" && [ "$(id -u)" = 0 ]; then # lists that were never fetched, as in containers
  apt-get update -q >/dev/null 2>&1 || true
  apt-cache pkgnames | sort > "$known"
fi

# Names differ between releases: what is not known is left out, and the binaries decide in the end.
fetch() {
  into=$1
  shift
  mkdir -p "$target/$into"
  names=""
  for package in "$@"; do
    if grep -qx "$package" "$known"; then names="$names $package"; fi
  done
  # shellcheck disable=SC2086
  (cd "$packages" && apt-get download $names >/dev/null 2>&1) || true
  for archive in "$packages"/*.deb; do
    if [ -e "$archive" ]; then dpkg-deb -x "$archive" "$target/$into"; fi
  done
  rm -f "$packages"/*.deb
}

fetch cyrus cyrus-common cyrus-imapd libical3 libxapian30 libclamav11 libclamav12 libjemalloc2 liblmdb0 \
  libmariadb3 libzephyr4 libpcre3 libmspack0 sasl2-bin db-util db5.3-util libsasl2-modules-db
fetch courier courier-imap courier-base courier-authlib libcourier-unicode4 libcourier-unicode8 libgamin0 libpcre3

missing=""
[ -x "$target/cyrus/usr/lib/cyrus/bin/imapd" ] || missing="$missing Cyrus"
[ -x "$target/courier/usr/bin/imapd" ] || missing="$missing Courier"
if [ -n "$missing" ]; then
  say "Not to be had from this system's packages:$missing."
  exit 1
fi
printf '%s' "$wanted" > "$stamp"
