#!/bin/sh
# Stands in for Weave Net's program: writes down what it is asked, and does it with a bridge and pairs of links. Files beside it have the
# process ids of containers.
set -eu
here=$(dirname "$0")
echo "$*" >>"$here/calls"
refuse() {
    echo "$1" >&2
    exit 1
}
inside() { nsenter -t "$pid" -n "$@"; }
case $1 in
attach | detach) pid=$(cat "$here/$3" 2>/dev/null) || refuse "Error: No such object: $3" ;;
esac
case $1 in
status) ip link show weave >/dev/null 2>&1 || refuse "weave router is not running" ;;
launch) ip link add weave up type bridge ;;
expose) ip addr add "$2" dev weave && echo "${2%/*}" ;;
attach)
    ip link add "vethwe$pid" up type veth peer name ethwe netns "$pid"
    ip link set "vethwe$pid" master weave
    inside ip addr add "$2" dev ethwe
    inside ip link set ethwe up
    echo "${2%/*}"
    ;;
detach) inside ip link del ethwe ;;
*) refuse "unknown command $1" ;;
esac
