#!/usr/bin/env bash
# Builds .venv for one dependency lane, or does nothing when it is already up to date.
#
#   requirements/setup.sh            # the lane this machine can run
#   LANE=legacy requirements/setup.sh
#
# Safe to repeat and to interrupt: .venv counts as ready only once its stamp is written, at the very end.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.movie-ranking
uv_version=0.13.9
asked=${LANE:-}

say() { printf 'set-up: %s\n' "$*"; }
die() { printf 'set-up: %s\n' "$@" >&2; exit 2; }

case "$asked" in ''|current|legacy) ;; *) die "LANE must be 'current' or 'legacy'; got '$asked'" ;; esac

fingerprint() { cat setup.py requirements/setup.sh "requirements/$1.txt" | sha256sum | cut -d' ' -f1; }
is_ready() { # LANE
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$1 $(fingerprint "$1")" ] && "$venv/bin/python" -c '' 2>/dev/null
}
for lane in ${asked:-current legacy}; do is_ready "$lane" && exit 0; done

# One set-up at a time; a second one waits here and then finds the work done.
if command -v flock >/dev/null; then
  exec 9<requirements/setup.sh
  flock 9
  for lane in ${asked:-current legacy}; do is_ready "$lane" && exit 0; done
fi

pyenv_versions=${PYENV_ROOT:-$HOME/.pyenv}/versions

# The first working interpreter among the versions named. A pyenv shim that exits with an error is none.
find_python() { # VERSION...
  local version candidate
  for version in "$@"; do
    for candidate in "python$version" python3 python "$pyenv_versions/$version".*/bin/python; do
      candidate=$(command -v "$candidate" 2>/dev/null) || continue
      if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
        # The interpreter itself, not a shim or link whose meaning may change.
        "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
        return 0
      fi
    done
  done
  return 1
}

# Python 3.10 from uv, for a machine that has none; uv is borrowed from PATH or from any Python 3 with venv.
install_python() {
  local uv any
  if ! uv=$(command -v uv); then
    any=$(find_python 3.13 3.12 3.11 3.14 3.9) && "$any" -c 'import ensurepip, venv' 2>/dev/null || return 1
    "$any" -m venv --clear "$venv" >&2 && "$venv/bin/python" -m pip install -q "uv==$uv_version" >&2 || return 1
    uv=$venv/bin/uv
  fi
  say "no Python 3.10 here; fetching one with uv" >&2
  "$uv" python install 3.10 >&2 && "$uv" python find 3.10
}

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2 || true)
new_glibc() { [ -n "$glibc" ] && [ "$(printf '%s\n2.39\n' "$glibc" | sort -V | head -n 1)" = 2.39 ]; }

[ "$(uname -sm)" = "Linux x86_64" ] ||
  die "TFX publishes its compiled parts for Linux on x86-64 alone; this machine is $(uname -sm)." \
      "Use a Linux x86-64 machine or container."

lane=$asked python=
if [ "$lane" = current ] && ! new_glibc; then
  die "the current lane needs glibc 2.39 or newer (Debian 13, Ubuntu 24.04); this machine has ${glibc:-none}." "Use 'make LANE=legacy'."
fi
if [ "$lane" != legacy ] && new_glibc && python=$(find_python 3.13 3.12 3.11); then
  lane=current
elif [ "$lane" = current ]; then
  die "the current lane needs Python 3.11, 3.12 or 3.13, and none was found on PATH or in $pyenv_versions." \
      "Install one (Debian, Ubuntu: apt-get install python3 python3-venv python3-dev) or use 'make LANE=legacy'."
elif python=$(find_python 3.10) || python=$(install_python); then
  lane=legacy
else
  die "no Python was found that either dependency lane can use." \
      "current lane: Python 3.11 to 3.13 on glibc 2.39 or newer (this machine: glibc ${glibc:-unknown});" \
      "legacy lane: Python 3.10 on PATH, in $pyenv_versions, or through 'uv python install 3.10'." \
      "Install one of them: apt-get install python3 python3-venv python3-dev, or pyenv install 3.10, or uv."
fi

missing=()
command -v g++ >/dev/null || missing+=(g++)
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python3-venv")
[ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || missing+=("python3-dev")
[ ${#missing[@]} -eq 0 ] ||
  die "missing: ${missing[*]} (pyfarmhash, which TensorFlow Data Validation needs, is compiled on install)." \
      "Debian, Ubuntu: apt-get install ${missing[*]}" "Fedora: dnf install gcc-c++ python3-devel"

say "$lane lane, $("$python" --version 2>&1) ($python), glibc $glibc"
rm -f "$stamp"
# An environment of the same interpreter is brought up to date in place.
base='import os, sys; print(os.path.realpath(sys.base_prefix))'
[ "$("$venv/bin/python" -c "$base" 2>/dev/null)" = "$("$python" -c "$base")" ] || "$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check "uv==$uv_version"
# --compile-bytecode: without it, each start under PYTHONDONTWRITEBYTECODE=1 compiles TensorFlow and TFX anew.
"$venv/bin/uv" pip install --python "$venv/bin/python" --native-tls --require-hashes --compile-bytecode -r "requirements/$lane.txt"
"$venv/bin/uv" pip install --python "$venv/bin/python" --native-tls --no-deps --no-build-isolation --quiet -e .
printf '%s %s' "$lane" "$(fingerprint "$lane")" >"$stamp"
say "ready: $venv/bin/movie-ranking"
