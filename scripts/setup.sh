#!/bin/sh
# Makes .venv with what is asked for: "demo" (what the demo runs) or "all" (also what the tests and checks need).
# Where we may (root, or sudo without a password) Debian packages are installed too; where we may not, the tests that
# need them skip and say so. Does nothing when nothing changed since the last run.
set -eu
what=${1:-all}
cd "$(dirname "$0")/.."
venv=.venv

say() { printf '%s\n' "$*" >&2; }

if [ "$(id -u)" = 0 ]; then as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo"
else as_root="no"; fi

# A fresh machine may be busy with its own upgrades.
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600"

to_be_had() { # sets known and unknown: of these packages those that apt would install, and the others
  known=""
  unknown=""
  # In Ubuntu, Chromium and Thunderbird only fetch a snap (as version 1:1snap1-0ubuntu2), which the tests cannot use.
  offered=$(LC_ALL=C apt-cache policy "$@" 2>/dev/null | sed -n \
    -e '/^[^ ]/{s/:$//;h;}' -e '/^  Candidate: (none)/d' -e '/^  Candidate: .*[0-9]snap[0-9]/d' -e '/^  Candidate: /{g;p;}')
  for package in "$@"; do
    if printf '%s\n' "$offered" | grep -Fqx "$package"; then known="$known $package"
    else unknown="$unknown $package"; fi
  done
}

updated=no
# shellcheck disable=SC2086
apt_install() { # packages, or package:command where the command may come from elsewhere
  command -v dpkg-query >/dev/null 2>&1 || return 1
  missing=""
  for entry in "$@"; do
    package=${entry%%:*}
    if [ "$entry" != "$package" ] && command -v "${entry#*:}" >/dev/null 2>&1; then continue; fi
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$as_root" = no ]; then
    to_be_had $missing
    [ -n "$known" ] || known=$missing # apt has no lists yet
    say "Not installed, and no right to install; what needs them is left out. To have it: sudo apt install$known"
    return 1
  fi
  if [ $updated = no ]; then
    $apt update -q >/dev/null 2>&1 || say "apt-get update failed; going on with the old lists."
    updated=yes
  fi
  to_be_had $missing
  [ -z "$unknown" ] || say "Not to be had from this system's packages; what needs them is left out:$unknown"
  [ -n "$known" ] || return 0
  say "Installing$known"
  if ! $apt install -y -q --no-install-recommends $known >/dev/null 2>&1; then
    # One that cannot be installed must not take the others with it.
    for package in $known; do
      $apt install -y -q --no-install-recommends "$package" >/dev/null 2>&1 || say "Could not install $package."
    done
  fi
}

fits() { command -v "$1" >/dev/null 2>&1 && "$1" -c "import sys; raise SystemExit(not ($2))" 2>/dev/null; }
find_python() {
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if fits "$candidate" '(3, 11) <= sys.version_info[:2] <= (3, 13)'; then printf '%s' "$candidate"; return 0; fi
  done
  for candidate in ${PYTHON:-} python3; do # newer than TensorFlow knows: everything but the nights works
    if fits "$candidate" '(3, 11) <= sys.version_info[:2]'; then printf '%s' "$candidate"; return 0; fi
  done
  return 1
}

if ! python=$(find_python); then
  apt_install python3 python3-venv || true
  python=$(find_python) || {
    say "Python 3.11 or newer is needed; here is $(python3 --version 2>&1 || true)."
    say "Debian 12, Ubuntu 24.04 and later: apt install python3 python3-venv. Elsewhere name it: make PYTHON=/path/to/python3.12 ..."
    exit 1
  }
fi

read_list() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@" | sort -u | tr '\n' ' '; }

state() { # changes also when somebody else has installed one of the packages: then more can be set up
  cat pyproject.toml scripts/setup.sh scripts/apt-*.txt scripts/test_servers.sh | cksum
  # shellcheck disable=SC2046
  dpkg-query -W -f '${Package} ${Status}\n' $(read_list scripts/apt-*.txt | sed 's/:[^ ]*//g') 2>/dev/null | cksum
  printf '%s' "$python"
}

wanted=$(state)
for stamp in "$venv/.set-up-all" "$venv/.set-up-$what"; do
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
done
stamp="$venv/.set-up-$what"

if [ "$what" = all ]; then
  # shellcheck disable=SC2046
  apt_install $(read_list scripts/apt-*.txt) || true
fi

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$venv"
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" || true
    "$python" -m venv "$venv" || { say "Could not make $venv. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
  fi
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet --quiet "$@"; }
say "Installing Python packages into $venv (the first time this takes a few minutes)"
pip install --upgrade "pip>=25.1" wheel

extras="demo"
# TensorFlow knows these machines only; elsewhere the instant head learns alone.
if fits "$venv/bin/python" 'sys.version_info < (3, 14) and __import__("platform").machine() in ("x86_64", "aarch64", "AMD64", "arm64")'; then
  extras="$extras,train"
else
  say "No TensorFlow for this Python or machine: nights are left out."
fi
if [ "$what" = all ]; then
  extras="$extras,streaming"
  # PyGObject is built from source: without its headers the tray's tests skip.
  pip install --editable ".[$extras]" --group test --group lint
  if ! pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null \
    || ! pip install --editable ".[$extras,tray]" >/dev/null 2>&1; then
    say "PyGObject cannot be built: the tray is left out (apt install gcc libgirepository1.0-dev libcairo2-dev pkg-config python3-dev)."
  fi
  sh scripts/test_servers.sh || say "The tests that need it skip."
else
  pip install --editable ".[$extras]"
fi
state > "$stamp"
