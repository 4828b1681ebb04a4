#!/usr/bin/env bash
# Makes the environment for `make demo` and `make test` on a fresh Debian machine: what is there is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=$1
python=${PYTHON:-python3}

need() { # need COMMAND PACKAGE: installs the Debian package when the command is missing
    command -v "$1" >/dev/null 2>&1 && return
    missing+=("$2")
}

missing=()
need "$python" python3
need git git
need node nodejs
need npm npm
need sqlite3 sqlite3
need curl curl
need openssl openssl
[ "$extras" != dev ] || need wrk wrk
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
# The tests start servers of their own; Debian keeps the binaries out of the search path.
[ "$extras" != dev ] || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || need initdb postgresql
# The tests verify a published log with Go's implementation too.
[ "$extras" != dev ] || need go golang-go
# The tests forward records to a real syslog server.
[ "$extras" != dev ] || [ -x /usr/sbin/rsyslogd ] || missing+=(rsyslog)
[ "$extras" != dev ] || compgen -G "/usr/lib/*/rsyslog/lmnsd_gtls.so" >/dev/null || missing+=(rsyslog-gnutls)
# tests/faults preloads a library that intercepts writes.
[ "$extras" != dev ] || need cc gcc
[ "$extras" != dev ] || [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ "$extras" != dev ] || [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb ] || missing+=(golang-golang-x-mod-dev)
if ((${#missing[@]})); then
    echo "installing: ${missing[*]}"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
        # Nobody needs the cluster that the package would make and start.
        $sudo sed -i 's/^#*create_main_cluster .*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

"$python" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Remit needs Python 3.11 or newer; this is {sys.version.split()[0]}")
PY

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing Remit and what it needs into .venv"
.venv/bin/python -m pip install -q --disable-pip-version-check -e ".[$extras]"
if [ "$extras" = dev ]; then
    # A verifier of logs that is not ours: it asks for Python 3.12, and what the tests use of it runs on 3.11.
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --ignore-requires-python --upgrade \
        --target .venv/aics aics-tlog==0.2.1
    # `python -m bench engine` measures beside it, in a process of its own: what it needs is not what Remit needs.
    .venv/bin/python -m pip install -q --disable-pip-version-check --upgrade --target .venv/agt \
        agent-governance-toolkit-core==5.0.0
fi
echo "installing what comes from npm into node_modules"
npm install --silent --no-fund --no-audit >/dev/null
