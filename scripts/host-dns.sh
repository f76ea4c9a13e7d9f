#!/usr/bin/env bash
# Has this host ask the cluster's DNS first, so that names of Services and of DNS objects are known to its programs, and with --docker to
# plain containers too. Who was asked before stays behind it, for when it does not answer. Run it again at any time.
#
#   scripts/host-dns.sh            edits /etc/resolv.conf, or tells systemd-resolved where that is what the host asks
#   scripts/host-dns.sh --docker   and daemon.json, for containers that are made after Docker's next restart
#   scripts/host-dns.sh --remove   takes back both; so does scripts/down.sh
#
#   --address IP          the cluster's DNS (that of the Service kube-system/kube-dns, as kubectl sees it); with --remove, only if it is that one
#   --domain DOMAIN       in which the cluster's names are, for systemd-resolved (cluster.local; kube-proxy's --cluster-domain)
#   --resolv-conf FILE    (/etc/resolv.conf)
#   --resolved DIR        drop-ins of systemd-resolved (/etc/systemd/resolved.conf.d)
#   --daemon-json FILE    (/etc/docker/daemon.json)
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"

# canonical IP: as the API server spells it, by which it is known again.
canonical() {
    case "$1" in
    *:*) getent ahostsv6 "$1" | sed -n '1s/[[:space:]].*//p' | grep . || die "--address: $1 is no address" ;;
    *) echo "$1" ;;
    esac
}

address='' domain=cluster.local docker=false remove=false resolv_conf=/etc/resolv.conf resolved=/etc/systemd/resolved.conf.d daemon_json=/etc/docker/daemon.json
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    --docker) docker=true ;;
    --remove) remove=true ;;
    --address) address=$(canonical "${2:?--address needs an IP}") && shift ;;
    --domain) domain=${2:?--domain needs a name} && shift ;;
    --resolv-conf) resolv_conf=${2:?--resolv-conf needs a file} && shift ;;
    --resolved) resolved=${2:?--resolved needs a folder} && shift ;;
    --daemon-json) daemon_json=${2:?--daemon-json needs a file} && shift ;;
    *) die "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
done
# Our line of a resolv.conf: what resolvers leave out tells it from others.
MARK='# minik8s'
DROP_IN=$resolved/minik8s.conf
# What daemon.json said of servers before.
BEFORE=$daemon_json.minik8s

# replace FILE: with what comes in, at once, through a symbolic link; a file that is mounted by itself is written in place.
replace() {
    local file new
    file=$(readlink -f "$1") && new=$(mktemp "$file.XXXXXX")
    cat >"$new"
    chmod 644 "$new"
    mv "$new" "$file" 2>/dev/null || { cat "$new" >"$file" && rm "$new"; }
}

# others: the host's file without our line.
others() { sed "/$MARK\$/d" "$resolv_conf"; }

behind_resolved() { others | grep -q '^nameserver[[:space:]]*127\.0\.0\.53'; }

ask_cluster() {
    if behind_resolved; then
        ! grep -qrsE --exclude="$(basename "$DROP_IN")" '^[[:space:]]*DNS=.' "${resolved%.d}" "$resolved" ||
            die "systemd-resolved has servers of its own for all links (DNS= in ${resolved%.d} or below), of which it asks only one: add $address there by hand, or take them away"
        # Asked at the same time as the links' servers; the first who knows a name is believed.
        mkdir -p "$resolved"
        printf '# Of scripts/host-dns.sh.\n[Resolve]\nDNS=%s\nDomains=~%s\n' "$address" "$domain" >"$DROP_IN"
        systemctl restart systemd-resolved
    else
        [ "$(others | grep -c '^nameserver')" -lt 3 ] || warn "programs ask the first three servers of $resolv_conf: the last of it is asked no more"
        { echo "nameserver $address $MARK" && others; } | replace "$resolv_conf"
    fi
}

# asked: the cluster's DNS that this host asks, if it does.
asked() {
    if [ -e "$DROP_IN" ]; then
        sed -n 's/^DNS=//p' "$DROP_IN"
    elif [ -e "$resolv_conf" ]; then
        sed -n "s/^nameserver[[:space:]]*\([^[:space:]]*\) $MARK\$/\1/p" "$resolv_conf"
    fi
}

ask_no_cluster() {
    if [ -e "$DROP_IN" ]; then
        rm "$DROP_IN"
        systemctl restart systemd-resolved
    fi
    ! grep -qs "$MARK\$" "$resolv_conf" || others | replace "$resolv_conf"
}

# edit_daemon_json [SERVER…]: the cluster's DNS before whom Docker asked, or those servers; none: as it was.
edit_daemon_json() {
    python3 - "$daemon_json" "$BEFORE" "$@" <<'PYTHON'
import json, os, shutil, sys

path, before, *servers = sys.argv[1:]
try:
    with open(path) as file:
        config = json.load(file)
except FileNotFoundError:
    config = {}
except ValueError as error:
    sys.exit(f"{path}: {error}")
old = config.get("dns")
if os.path.exists(before):
    with open(before) as file:
        old = json.load(file)
if servers and not old and not servers[1:]:
    sys.exit(f"{path}: containers would have nobody to ask when the cluster does not answer: say whom under \"dns\" there")
if not os.path.exists(before):
    with open(before, "w") as file:
        json.dump(old, file)
if servers:
    config["dns"] = servers[:1] + [server for server in old or servers[1:] if server != servers[0]]
elif old is None:
    config.pop("dns", None)
else:
    config["dns"] = old
# Whoever has a link there keeps it, and the file its mode and owner.
real = os.path.realpath(path)
if config or os.path.islink(path):
    with open(real + ".new", "w") as file:
        if os.path.exists(real):
            was = os.stat(real)
            os.chown(file.name, was.st_uid, was.st_gid)
            shutil.copystat(real, file.name)
        json.dump(config, file, indent=4)
        file.write("\n")
    os.replace(real + ".new", real)
elif os.path.exists(path):
    os.remove(path)
if not servers:
    os.remove(before)
PYTHON
    say "Docker asks $([ $# -gt 0 ] && echo "$1" || echo "whom it asked before") for new containers once it has been restarted"
}

# A container can't ask what listens on the host's loopback device alone.
host_servers() {
    local file=$resolv_conf
    ! behind_resolved || file=/run/systemd/resolve/resolv.conf
    sed -n "/$MARK\$/d; s/^nameserver[[:space:]]*\([^[:space:]]*\).*/\1/p" "$file" | grep -v '^127\.' || true
}

if $remove; then
    found=$(asked)
    if [ -n "$address" ] && [ -n "$found" ] && [ "$found" != "$address" ]; then
        warn "this host asks $found, which is another cluster's, and goes on to: scripts/host-dns.sh --remove takes that back"
        exit
    fi
    ask_no_cluster
    [ ! -e "$BEFORE" ] || edit_daemon_json
    exit
fi
[ -n "$address" ] || address=$(kubectl get service kube-dns --namespace kube-system --output 'jsonpath={.spec.clusterIP}') ||
    die "no cluster answers: set KUBECONFIG, or say --address IP"
[ -n "$address" ] || die "the cluster has no DNS: say --address IP"
ask_cluster
say "this host asks $address"
if $docker; then
    command -v python3 >/dev/null || install_missing python3
    mkdir -p "$(dirname "$daemon_json")"
    # shellcheck disable=SC2046 # addresses
    edit_daemon_json "$address" $(host_servers)
fi
