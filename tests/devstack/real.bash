#!/usr/bin/env bash
# real.bash MODE [PHASE]: the plugin on a real host, which the namespace it runs in is. Processes end by `unstack`.
#
# The environment has what local.conf would say, and RUN: a directory for files, pids and logs.
set -o errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CALLS=$RUN/calls
source "$here/devstack.bash"

run_process() { # service, command: in the background, with its process id in a file
    if is_service_enabled "$1"; then
        # shellcheck disable=SC2086
        setsid $2 >>"$RUN/$1.log" 2>&1 </dev/null &
        echo $! >"$RUN/$1.pid"
    fi
}

stop_process() {
    local pid
    if [[ -e "$RUN/$1.pid" ]]; then
        pid=$(cat "$RUN/$1.pid")
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        command rm "$RUN/$1.pid"
    fi
}

wait_for_service() { # seconds, URL
    timeout "$1" "$BIN/python" - "$2" <<'END'
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=1)
        break
    except OSError:
        time.sleep(0.2)
END
}

source "$here/../../devstack/settings"
BAGPIPE_CONF_DIR=$RUN/etc

BAGPIPE_CONF=$BAGPIPE_CONF_DIR/bgp.conf
source "$here/../../devstack/plugin.sh" "$@"

# As a section [[post-config|/etc/bagpipe-bgp/bgp.conf]] of local.conf would.
if [[ "$*" == "stack post-config" ]]; then
    iniset "$BAGPIPE_CONF" DATAPLANE_DRIVER_IPVPN ovsdb_connection "unix:$OVS_RUNDIR/db.sock"
    iniset "$BAGPIPE_CONF" DATAPLANE_DRIVER_IPVPN ovs_run_directory "$OVS_RUNDIR"
fi
