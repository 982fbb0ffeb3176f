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
trap 'rm -rf "$packages"' EXIT
if ! apt-cache show cyrus-common >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then # lists that were never fetched, as in containers
  apt-get update -q >/dev/null 2>&1 || true
fi

# What these packages need and this system has not, apt tells: the libraries' names differ between releases.
fetch() {
  into=$1
  shift
  mkdir -p "$target/$into"
  needed=$(apt-get -s --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p') || true
  # shellcheck disable=SC2086
  (cd "$packages" && apt-get download $(printf '%s\n' "$@" $needed | sort -u) >/dev/null 2>&1) || true
  for archive in "$packages"/*.deb; do
    if [ -e "$archive" ]; then dpkg-deb -x "$archive" "$target/$into"; fi
  done
  rm -f "$packages"/*.deb
}

fetch cyrus cyrus-common cyrus-imapd sasl2-bin libsasl2-modules-db
fetch courier courier-imap courier-base courier-authlib

missing=""
[ -x "$target/cyrus/usr/lib/cyrus/bin/imapd" ] || missing="$missing Cyrus"
[ -x "$target/courier/usr/bin/imapd" ] || missing="$missing Courier"
if [ -n "$missing" ]; then
  say "Not to be had from this system's packages:$missing."
  exit 1
fi
printf '%s' "$wanted" > "$stamp"
