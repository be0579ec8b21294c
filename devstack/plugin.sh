#!/usr/bin/env bash
# devstack calls this as: source plugin.sh <mode> [phase]. What is done in each is in lib/bagpipe.

_XTRACE_BAGPIPE=$(set +o | grep xtrace)
set +o xtrace

# shellcheck source=devstack/lib/bagpipe
source "$NETWORKING_BAGPIPE_DIR/devstack/lib/bagpipe"
# shellcheck source=devstack/lib/bridge
source "$NETWORKING_BAGPIPE_DIR/devstack/lib/bridge"

case "$1 ${2:-}" in
    "stack pre-install")
        check_bagpipe
        install_bagpipe_gobgp
        ;;
    "stack install")
        echo_summary "Installing bagpipe"
        install_bagpipe
        ;;
    "stack post-config")
        echo_summary "Configuring bagpipe"
        configure_bagpipe_agent
        configure_bagpipe_bgp
        ;;
    "stack extra")
        echo_summary "Starting bagpipe"
        start_bagpipe
        ;;
    "unstack "*)
        stop_bagpipe
        cleanup_bagpipe_dataplane
        ;;
    "clean "*)
        cleanup_bagpipe_dataplane
        cleanup_bagpipe
        ;;
esac

$_XTRACE_BAGPIPE
