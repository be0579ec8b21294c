#!/usr/bin/env bats
# The plugin as stack.sh, unstack.sh and clean.sh call it.

bats_require_minimum_version 1.5.0

setup() {
    REPOSITORY=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    CALLS=$BATS_TEST_TMPDIR/calls
    : >"$CALLS"
    DEST=/opt/stack
    DATA_DIR=/opt/stack/data
    STACK_USER=stack
    HOST_IP=192.0.2.11
    SERVICE_HOST=192.0.2.1
    ENABLED_SERVICES=q-svc,q-agt
    DISABLED_SERVICES=
    Q_PLUGIN_CONF_FILE=$BATS_TEST_TMPDIR/ml2_conf.ini
    source "$BATS_TEST_DIRNAME/devstack.bash"
    source "$BATS_TEST_DIRNAME/system.bash"
}

# Reads the settings as devstack does, after local.conf; the files of /etc go below the test's directory.
settings() {
    source "$REPOSITORY/devstack/settings"
    BAGPIPE_CONF_DIR=$BATS_TEST_TMPDIR/etc
    BAGPIPE_CONF=$BAGPIPE_CONF_DIR/bgp.conf
}

# Calls the plugin as devstack does: sourced, and any failure ends it.
plugin() {
    (
        set -o errexit
        source "$REPOSITORY/devstack/plugin.sh" "$@"
    )
}

option() { iniget "$BAGPIPE_CONF" "$1" "$2"; }

same() { # what came, what was expected
    if [[ "$1" != "$2" ]]; then
        printf 'expected:\n%s\ngot:\n%s\n' "$2" "$1" >&2
        return 1
    fi
}

@test "without anything in local.conf every variable has its documented default" {
    settings

    same "$NETWORKING_BAGPIPE_DIR" "$REPOSITORY"
    same "$BAGPIPE_DATAPLANE_DRIVER_IPVPN" dummy
    same "$BAGPIPE_DATAPLANE_DRIVER_EVPN" dummy
    same "$BAGPIPE_BGP_PEERS" 192.0.2.1
    same "$BAGPIPE_HOST_IP" 192.0.2.11
    same "$BAGPIPE_SERVICE_HOST" 0.0.0.0
    same "$BAGPIPE_SERVICE_PORT" 8082
    same "$BAGPIPE_MPLS_IFACE" ""
    same "$BAGPIPE_MPLS_BR" br-mpls
    same "$BAGPIPE_ARP_RESPONDER" False
    same "$BAGPIPE_PROXY_ARP" False
    same "$ENABLE_BAGPIPE_L2" False
    same "$BAGPIPE_RT_ASN" 64512
    same "$BAGPIPE_STATE_DIR" /opt/stack/data/bagpipe-bgp
}

@test "the configuration is in /etc/bagpipe-bgp whatever the environment says" {
    BAGPIPE_CONF_DIR=/elsewhere
    source "$REPOSITORY/devstack/settings"

    same "$BAGPIPE_CONF" /etc/bagpipe-bgp/bgp.conf
}

@test "what local.conf says of a variable stays" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BAGPIPE_DATAPLANE_DRIVER_EVPN=ovs BAGPIPE_BGP_PEERS=1.2.3.4,2.3.4.5
    BAGPIPE_HOST_IP=198.51.100.7 BAGPIPE_SERVICE_PORT=9999 BAGPIPE_MPLS_BR=br-vpn ENABLE_BAGPIPE_L2=yes
    NETWORKING_BAGPIPE_DIR=/somewhere
    settings

    same "$BAGPIPE_DATAPLANE_DRIVER_IPVPN $BAGPIPE_DATAPLANE_DRIVER_EVPN $BAGPIPE_BGP_PEERS" "ovs ovs 1.2.3.4,2.3.4.5"
    same "$BAGPIPE_HOST_IP $BAGPIPE_SERVICE_PORT $BAGPIPE_MPLS_BR" "198.51.100.7 9999 br-vpn"
    same "$ENABLE_BAGPIPE_L2 $NETWORKING_BAGPIPE_DIR" "True /somewhere"
}

@test "old names of agents mean those of today" {
    Q_AGENT=bagpipe-linuxbridge
    settings
    same "$Q_AGENT" linuxbridge

    Q_AGENT=bagpipe-openvswitch
    settings
    same "$Q_AGENT" openvswitch
}

@test "where an agent is enabled the daemon is, under both names" {
    for agent in q-agt neutron-agent; do
        ENABLED_SERVICES=$agent
        settings
        same "$ENABLED_SERVICES" "$agent,b-bgp,neutron-bagpipe-bgp"
    done
}

@test "either name of a service turns on both" {
    for service in b-bgp neutron-bagpipe-bgp; do
        ENABLED_SERVICES=$service
        settings
        is_service_enabled b-bgp
        is_service_enabled neutron-bagpipe-bgp
        run ! is_service_enabled b-fakerr
    done
    for service in b-fakerr neutron-bagpipe-fakerr; do
        ENABLED_SERVICES=$service
        settings
        is_service_enabled b-fakerr
        is_service_enabled neutron-bagpipe-fakerr
        run ! is_service_enabled b-bgp
    done
}

@test "a service that is disabled by either name stays off though an agent is there" {
    for service in b-bgp neutron-bagpipe-bgp; do
        ENABLED_SERVICES=q-agt DISABLED_SERVICES=
        disable_service "$service"
        settings
        run ! is_service_enabled b-bgp
        run ! is_service_enabled neutron-bagpipe-bgp
    done
}

@test "a controller without agent and services gets the driver and nothing else" {
    ENABLED_SERVICES=q-svc
    settings
    for phase in pre-install install post-config extra; do plugin stack "$phase"; done

    same "$(cat "$CALLS")" "pip_install -e ${REPOSITORY}[neutron]"
    [ ! -e "$BAGPIPE_CONF" ]
    [ ! -e "$Q_PLUGIN_CONF_FILE" ]
}

@test "the driver path of networking-bgpvpn brings the package with the modules that it imports" {
    NETWORKING_BGPVPN_DRIVER=BGPVPN:BaGPipe:networking_bgpvpn.neutron.services.service_drivers.bagpipe.bagpipe_v2.BaGPipeBGPVPNDriver:default
    settings
    plugin stack install

    same "$(cat "$CALLS")" "pip_install -e ${REPOSITORY}[neutron]
pip_install -e $REPOSITORY/compat"
}

@test "with another driver that package stays away" {
    for driver in '' BGPVPN:Dummy:networking_bgpvpn.neutron.services.service_drivers.driver_api.BGPVPNDriver:default \
        BGPVPN:BaGPipe:bagpipe.neutron.server.bagpipe_v2.BaGPipeBGPVPNDriver:default; do
        NETWORKING_BGPVPN_DRIVER=$driver
        settings
        : >"$CALLS"
        plugin stack install
        same "$(cat "$CALLS")" "pip_install -e ${REPOSITORY}[neutron]"
    done
}

@test "linuxbridge ends stack.sh before it begins, with the reason" {
    ENABLE_BAGPIPE_L2=True
    settings
    run ! plugin stack pre-install
    [[ "$output" == *"ENABLE_BAGPIPE_L2 = True"*"gone"* ]]

    ENABLE_BAGPIPE_L2=False Q_AGENT=bagpipe-linuxbridge
    settings
    run ! plugin stack pre-install
    [[ "$output" == *"Q_AGENT = linuxbridge"* ]]
}

@test "GoBGP comes from the distribution and is not left on the port of the reflector" {
    ENABLED_SERVICES=gobgp
    settings
    plugin stack pre-install

    same "$(cat "$CALLS")" "install_package gobgpd
stop_service gobgpd
systemctl disable gobgpd"
}

@test "GoBGP where the distribution has none is refused" {
    ENABLED_SERVICES=gobgp DISTRIBUTION=fedora
    settings
    run ! plugin stack pre-install
    [[ "$output" == *"service gobgp"* ]]
    same "$(cat "$CALLS")" ""
}

@test "the agent is told the port of the daemon and its bridge, in a section" {
    BAGPIPE_SERVICE_PORT=9082 BAGPIPE_MPLS_BR=br-vpn
    printf '[agent]\nl2_population = True\n' >"$Q_PLUGIN_CONF_FILE"
    settings
    plugin stack post-config

    same "$(cat "$Q_PLUGIN_CONF_FILE")" "[agent]
l2_population = True

[bagpipe]
mpls_bridge = br-vpn
bagpipe_bgp_port = 9082"
}

@test "the agent's file is found by its newer name, with or without the leading slash" {
    Q_PLUGIN_CONF_FILE='' NEUTRON_CORE_PLUGIN_CONF=${BATS_TEST_TMPDIR#/}/core.ini
    settings
    plugin stack post-config

    same "$(iniget "$BATS_TEST_TMPDIR/core.ini" bagpipe bagpipe_bgp_port)" 8082
}

@test "an agent whose file is not known is an error and not a file named slash" {
    Q_PLUGIN_CONF_FILE=''
    settings
    run ! plugin stack post-config
    [[ "$output" == *"which file the agent reads"* ]]
}

@test "bgp.conf has every variable, and a value for the AS" {
    BAGPIPE_BGP_PEERS=- BAGPIPE_ARP_RESPONDER=True BAGPIPE_PROXY_ARP=True ENABLE_DEBUG_LOG_LEVEL=False
    BAGPIPE_SERVICE_HOST=127.0.0.1 BAGPIPE_SERVICE_PORT=9082 BAGPIPE_DATAPLANE_DRIVER_EVPN=ovs
    settings
    plugin stack post-config

    same "$(option DEFAULT debug)" False
    same "$(option BGP local_address)" 192.0.2.11
    same "$(option BGP peers)" -
    same "$(option BGP my_as)" 64512
    same "$(option API host)" 127.0.0.1
    same "$(option API port)" 9082
    same "$(option COMMON state_dir)" /opt/stack/data/bagpipe-bgp
    same "$(option DATAPLANE_DRIVER_IPVPN dataplane_driver)" dummy
    same "$(option DATAPLANE_DRIVER_IPVPN mpls_interface)" '*gre*'
    same "$(option DATAPLANE_DRIVER_IPVPN ovs_bridge)" br-mpls
    same "$(option DATAPLANE_DRIVER_IPVPN arp_responder)" True
    same "$(option DATAPLANE_DRIVER_IPVPN proxy_arp)" True
    same "$(option DATAPLANE_DRIVER_EVPN dataplane_driver)" ovs
    same "$(cat "$CALLS")" "install -d -o stack $BAGPIPE_CONF_DIR"
}

@test "bgp.conf is made anew each time: nothing of an earlier run stays in it" {
    settings
    plugin stack post-config
    iniset "$BAGPIPE_CONF" BGP hold_time 3
    plugin stack post-config

    same "$(option BGP hold_time)" ""
    same "$(grep -c '^local_address = ' "$BAGPIPE_CONF")" 1
}

@test "for Open vSwitch a secure bridge is made, by any name of the driver" {
    for driver in ovs mpls_ovs_dataplane.MPLSOVSDataplaneDriver \
        bagpipe.bgp.vpn.ipvpn.mpls_ovs_dataplane.MPLSOVSDataplaneDriver; do
        BAGPIPE_DATAPLANE_DRIVER_IPVPN=$driver
        settings
        : >"$CALLS"
        plugin stack post-config
        same "$(cat "$CALLS")" "install -d -o stack $BAGPIPE_CONF_DIR
ovs-vsctl -- add-br br-mpls -- set-fail-mode br-mpls secure -- set bridge br-mpls protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15
ip link set dev br-mpls up"
    done
}

@test "a bridge of an earlier run is deleted first, and the datapath is that of devstack's other bridges" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BAGPIPE_MPLS_BR=br-vpn OVS_DATAPATH_TYPE=netdev BRIDGES="br-int br-vpn"
    settings
    plugin stack post-config

    same "$(tail -n +2 "$CALLS")" "ovs-vsctl --if-exists del-br br-vpn
ovs-vsctl -- add-br br-vpn -- set-fail-mode br-vpn secure -- set bridge br-vpn protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15
ovs-vsctl set bridge br-vpn datapath_type=netdev
ip link set dev br-vpn up"
}

@test "an interface for MPLS moves into the bridge with its addresses and routes, and keeps its MAC for itself" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BAGPIPE_MPLS_IFACE=lo
    ADDRESSES4="7: lo    inet 192.0.2.11/24 brd 192.0.2.255 scope global dynamic lo\\       valid_lft 80000sec
7: lo    inet 192.0.2.12/24 scope global secondary lo\\       valid_lft forever
"
    ADDRESSES6="7: lo    inet6 2001:db8::11/64 scope global \\       valid_lft forever
7: lo    inet6 2001:db8::abcd/64 scope global dynamic mngtmpaddr \\       valid_lft 3000sec
"
    ROUTES4="default via 192.0.2.254 proto static metric 100 linkdown
192.0.2.0/24 proto kernel scope link src 192.0.2.11
198.51.100.0/24 via 192.0.2.253
"
    ROUTES6="2001:db8::/64 proto kernel metric 256 pref medium
default via fe80::1 proto ra metric 1024
2001:db8:f::/48 via 2001:db8::1 metric 1024
"
    settings
    plugin stack post-config

    same "$(option DATAPLANE_DRIVER_IPVPN mpls_interface)" lo
    same "$(tail -n +4 "$CALLS")" "ovs-vsctl set bridge br-mpls other-config:hwaddr=02:00:00:00:00:00 external-ids:bagpipe-interface=lo external-ids:bagpipe-arp-ignore=2 -- add-port br-mpls lo
sysctl -q -w net/ipv4/conf/lo/arp_ignore=8
ovs-ofctl -O OpenFlow13 add-flow br-mpls priority=0,in_port=lo,actions=LOCAL
ovs-ofctl -O OpenFlow13 add-flow br-mpls priority=0,in_port=LOCAL,actions=output:lo
ip -4 address flush dev lo scope global
ip address del 2001:db8::11/64 dev lo
ip link set dev br-mpls up
ip address add 192.0.2.11/24 brd + dev br-mpls
ip address add 192.0.2.12/24 brd + dev br-mpls
ip address add 2001:db8::11/64 dev br-mpls nodad
ip -4 route replace default via 192.0.2.254 proto static metric 100 dev br-mpls
ip -4 route replace 198.51.100.0/24 via 192.0.2.253 dev br-mpls
ip -6 route replace 2001:db8:f::/48 via 2001:db8::1 metric 1024 dev br-mpls"
}

@test "no interface moves for GRE, by its name in bgp.conf either" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BAGPIPE_MPLS_IFACE='*gre*'
    settings
    plugin stack post-config

    same "$(option DATAPLANE_DRIVER_IPVPN mpls_interface)" '*gre*'
    run ! grep -e add-port -e address "$CALLS"
}

@test "an interface that is not there is named, and nothing is moved" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BAGPIPE_MPLS_IFACE=nonesuch0
    settings
    run ! plugin stack post-config
    [[ "$output" == *"BAGPIPE_MPLS_IFACE = nonesuch0"* ]]
    run ! grep -e add-port -e address "$CALLS"
}

@test "the daemon is started from the environment of devstack, and stack.sh waits for its answer" {
    settings
    plugin stack extra

    same "$(cat "$CALLS")" "run_process neutron-bagpipe-bgp as root: /opt/stack/data/venv/bin/bagpipe-bgp --config-file $BAGPIPE_CONF
wait_for_service 60 http://127.0.0.1:8082/"
}

@test "it is waited for where it serves" {
    for pair in "10.0.0.1 http://10.0.0.1:8082/" ":: http://[::1]:8082/" "2001:db8::1 http://[2001:db8::1]:8082/"; do
        BAGPIPE_SERVICE_HOST=${pair% *}
        settings
        : >"$CALLS"
        plugin stack extra
        same "$(tail -n 1 "$CALLS")" "wait_for_service 60 ${pair#* }"
    done
}

@test "a daemon that does not answer fails stack.sh and says where to look" {
    UNANSWERED=1
    settings
    run ! plugin stack extra
    [[ "$output" == *"journalctl -u devstack@neutron-bagpipe-bgp"* ]]
}

@test "the reflector starts by either name" {
    for service in b-fakerr neutron-bagpipe-fakerr; do
        ENABLED_SERVICES=$service
        settings
        : >"$CALLS"
        plugin stack extra
        same "$(cat "$CALLS")" \
            "run_process neutron-bagpipe-fakerr as root: /opt/stack/data/venv/bin/bagpipe-fakerr"
    done
}

@test "the looking glass is shown over and over when asked for, not as root" {
    ENABLED_SERVICES+=,neutron-bagpipe-bgp-lg
    settings
    plugin stack extra

    same "$(tail -n 1 "$CALLS")" "run_process neutron-bagpipe-bgp-lg as stack: $REPOSITORY/devstack/tools/show-looking-glass /opt/stack/data/venv/bin/bagpipe-looking-glass --server 127.0.0.1 --port 8082 --recurse"
}

@test "unstack ends the processes, then takes flows, bridge and journal away" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BIN=$BATS_TEST_TMPDIR BRIDGES=br-mpls ENABLED_SERVICES=q-agt,b-fakerr
    settings
    mkdir "$BAGPIPE_CONF_DIR"
    touch "$BAGPIPE_CONF"
    printf '#!/bin/sh\necho cleanup "$@" >> %s\nexit 1\n' "$CALLS" >"$BIN/bagpipe-bgp-cleanup"
    chmod +x "$BIN/bagpipe-bgp-cleanup"
    plugin unstack

    same "$(cat "$CALLS")" "stop_process neutron-bagpipe-bgp
stop_process neutron-bagpipe-fakerr
cleanup --config-file $BAGPIPE_CONF
ovs-vsctl --if-exists del-br br-mpls
rm -rf /opt/stack/data/bagpipe-bgp"
}

@test "an interface comes back out of the bridge though local.conf does not name it any more" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs BRIDGES=br-mpls INTERFACE=eth1
    ADDRESSES4="9: br-mpls    inet 192.0.2.11/24 scope global br-mpls\\       valid_lft forever
"
    ROUTES4="default via 192.0.2.254
"
    settings
    plugin unstack

    same "$(tail -n +2 "$CALLS")" "ovs-vsctl --if-exists del-port br-mpls eth1
sysctl -q -w net/ipv4/conf/eth1/arp_ignore=2
ip -4 address flush dev br-mpls scope global
ip link set dev eth1 up
ip address add 192.0.2.11/24 brd + dev eth1
ip -4 route replace default via 192.0.2.254 dev eth1
ovs-vsctl --if-exists del-br br-mpls
rm -rf /opt/stack/data/bagpipe-bgp"
}

@test "clean after unstack finds no bridge and removes the files, the old right to run rootwrap included" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs
    source "$REPOSITORY/devstack/settings"
    plugin clean

    same "$(cat "$CALLS")" "rm -rf /opt/stack/data/bagpipe-bgp
rm -rf /etc/bagpipe-bgp
rm -f /etc/sudoers.d/bagpipe-rootwrap"
}

@test "on a controller clean leaves bridges alone" {
    BAGPIPE_DATAPLANE_DRIVER_IPVPN=ovs ENABLED_SERVICES=q-svc BRIDGES=br-mpls
    settings
    plugin clean

    run ! grep ovs-vsctl "$CALLS"
}

@test "phases that are not the plugin's do nothing" {
    settings
    for phase in "source" "stack test-config" "stack something-new" "restack"; do
        # shellcheck disable=SC2086
        plugin $phase
    done

    same "$(cat "$CALLS")" ""
}

@test "whether commands are traced is as it was before" {
    settings
    set -o xtrace
    source "$REPOSITORY/devstack/plugin.sh" source
    [[ "$-" == *x* ]]
    set +o xtrace
    source "$REPOSITORY/devstack/plugin.sh" source
    [[ "$-" != *x* ]]
}

@test "the sample local.conf gives the driver, the daemon on Open vSwitch and nothing that is not there" {
    sed -e '1,/^\[\[local|localrc\]\]/d' -e '/^\[\[post-config/,$d' -e '/^enable_plugin/d' \
        "$REPOSITORY/devstack/local.conf.sample" >"$BATS_TEST_TMPDIR/localrc"
    ENABLED_SERVICES=q-svc
    source "$BATS_TEST_TMPDIR/localrc"
    settings

    same "$BAGPIPE_DATAPLANE_DRIVER_IPVPN" ovs
    is_service_enabled b-bgp b-fakerr
    plugin stack pre-install
    plugin stack install
    [[ "$NETWORKING_BGPVPN_DRIVER" == BGPVPN:BaGPipe:*BaGPipeBGPVPNDriver:default ]]
}
