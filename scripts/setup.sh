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

updated=no
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
    say "Not installed, and no right to install; what needs them is left out. To have it: sudo apt install$missing"
    return 1
  fi
  if [ $updated = no ]; then
    $as_root apt-get update -q >/dev/null 2>&1 || say "apt-get update failed; going on with the old lists."
    updated=yes
  fi
  say "Installing$missing"
  # shellcheck disable=SC2086
  if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1; then
    # One unknown name must not take the others with it.
    for package in $missing; do
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" >/dev/null 2>&1 \
        || say "Could not install $package."
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
  python=$(find_python) || { say "Python 3.11 or newer is needed. On Debian or Ubuntu: apt install python3 python3-venv"; exit 1; }
fi

read_list() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@" | sort -u | tr '\n' ' '; }

wanted=$(cat pyproject.toml scripts/setup.sh scripts/apt-*.txt scripts/test_servers.sh | cksum; printf '%s' "$python")
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
  if pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null; then
    extras="$extras,tray"
  else
    say "No headers for PyGObject: the tray is left out (apt install libgirepository1.0-dev libcairo2-dev pkg-config python3-dev)."
  fi
  pip install --editable ".[$extras]" --group test --group lint
  sh scripts/test_servers.sh || say "Cyrus and Courier are left out; their tests skip."
else
  pip install --editable ".[$extras]"
fi
printf '%s' "$wanted" > "$stamp"
