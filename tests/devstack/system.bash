# A system that is made of notes: programs of the host as functions that write down what they were told.
#
# A command that would change the host fails unless it comes by sudo. What the programs answer is in these variables.

ADDRESSES4='' ADDRESSES6='' ROUTES4='' ROUTES6='' # lines of `ip -o address show` and `ip route show`
BRIDGES=''                                        # names
INTERFACE=''                                      # what is noted at the bridge

changes() {
    if [[ -z "${PRIVILEGED:-}" ]]; then
        echo "not by sudo: $*" >&2
        return 1
    fi
    calls "$@"
}

ip() {
    case "$*" in
        "-o -4 address show dev "*) printf '%s' "$ADDRESSES4" ;;
        "-o -6 address show dev "*) printf '%s' "$ADDRESSES6" ;;
        "-4 route show dev "*) printf '%s' "$ROUTES4" ;;
        "-6 route show dev "*) printf '%s' "$ROUTES6" ;;
        *) changes ip "$@" ;;
    esac
}

ovs-vsctl() {
    case "$*" in
        *"br-exists "*) [[ " $BRIDGES " == *" ${*: -1} "* ]] ;;
        "br-get-external-id "*" bagpipe-interface") echo "$INTERFACE" ;;
        "br-get-external-id "*" bagpipe-arp-ignore") echo 2 ;;
        *) changes ovs-vsctl "$@" ;;
    esac
}

ovs-ofctl() { changes ovs-ofctl "$@"; }
systemctl() { changes systemctl "$@"; }

sysctl() {
    if [[ "$1" == -n ]]; then
        echo 2
    else
        changes sysctl "$@"
    fi
}

# Directories of the host: those that tests use are below the test's own.
install() {
    if [[ "$1" == -d ]]; then
        changes install "$@"
        command mkdir -p "${*: -1}"
    else
        command install "$@"
    fi
}

rm() {
    case "${*: -1}" in
        /etc/* | /opt/*) changes rm "$@" ;;
        *) command rm "$@" ;;
    esac
}
