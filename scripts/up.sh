#!/usr/bin/env bash
# Brings up a cluster on this machine, applies the first examples and shows them running.
# Installs what is missing with apt. Run it again at any time: it starts what does not run, and again what is told something
# new, with the flags of the first time where it is given no others. --redis, --registry, --one-file, --monitoring, --publish-ports, --ingress-host-ports and --debug are taken back with =false, a value with ''.
#
#   scripts/up.sh                    embedded store, no Redis
#   scripts/up.sh --etcd --redis     the real services, from apt
#   scripts/up.sh --nodes 2          two kubelets, so that scheduling is visible
#
#   --etcd          keep the cluster in etcd instead of the embedded store
#   --secrets-encryption       from now on encrypt Secrets in the store, with a key in the state directory's apiserver/encryption.yaml, which a backup needs, too
#   --redis         publish changes and heartbeats over Redis
#   --registry      a registry for functions' images, from which nodes with a Docker of their own pull them
#   --warm-pool N   so many instances wait for a call of a function that has none, in each namespace with such functions (0)
#   --registry-host HOST:PORT  one that is there already, instead of that
#   --registry-secret NS/NAME  the Secret (kubernetes.io/dockerconfigjson) that it asks for
#   --package-index URL        where functions' requirements.txt is installed from (pip's own)
#   --build-network NETWORK    the network in which it is, as Docker calls it (bridge; host for an index on this machine)
#   --cluster-dns IP           where pods ask for names, of IPv4 or IPv6 (the tenth address of services; '' for no cluster DNS)
#   --dns-upstream ADDRESS,…   whom it asks for names that are not the cluster's (whom this machine asks)
#   --ingress-host-ports       serve Ingresses at ports 80 and 443 of this machine's own address, too
#   --proxy-mode MODE          what carries Services: nginx, one for each, or nftables, the kernel (nginx); it may be changed while the cluster runs (hosts that join go by it from when they do)
#   --load-balancer-pool CIDR|FIRST-LAST,…  free addresses of this machine's network, of IPv4, IPv6 or both, for Services of the type LoadBalancer (none)
#   --nginx FORM               whether each Service has an nginx, or those of a host one together: per-service or shared, which takes less memory (per-service); it may be changed as --proxy-mode
#   --network-plugin PLUGIN    how pods are connected, here and on hosts that join: bridge, weave (Weave Net, whose program has to be there) or cni (the plugins of /etc/cni/net.d) (bridge)
#   --nodes N       so many kubelets on this machine (1)
#   --node-name N   name of the first node (the host name); the others are N-2, N-3, …
#   --one-file      all programs as one file under several names, which takes less memory and is built sooner
#   --monitoring    serve what the programs count to other hosts too, where scripts/monitoring.sh has Prometheus look for it: over
#                   plain HTTP, to whoever reaches this host's address
#   --publish-ports a free port of this machine (127.0.0.1) for each port of every pod that asks for none
#   --debug         debug builds (quicker to build, slower to run)
#   --no-build      take the programs as they were built last
#   --no-examples   an empty cluster
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"
. "$ROOT/scripts/lib/cluster.sh"
. "$ROOT/scripts/lib/registry.sh"
. "$ROOT/scripts/lib/programs.sh"
. "$ROOT/scripts/lib/networks.sh"
. "$ROOT/scripts/lib/join.sh"

build=true examples=true
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --etcd) give store etcd ;;
    --secrets-encryption) give "${1#--}" true ;;
    --redis | --registry | --one-file | --monitoring | --publish-ports | --ingress-host-ports | --debug) give "${1#--}" true ;;
    --redis=* | --registry=* | --one-file=* | --monitoring=* | --publish-ports=* | --ingress-host-ports=* | --debug=*) switch "${1#--}" ;;
    --warm-pool) give warm-pool "${2:?--warm-pool needs a number}" && shift ;;
    --registry-host | --registry-secret | --package-index | --build-network | --cluster-dns | --dns-upstream | --load-balancer-pool) give "${1#--}" "${2?$1 needs a value}" && shift ;;
    --proxy-mode)
        case "${2-}" in nginx | nftables) give proxy-mode "$2" && shift ;; *) die "--proxy-mode: must be nginx or nftables" ;; esac
        ;;
    --nginx)
        case "${2-}" in per-service | shared) give nginx "$2" && shift ;; *) die "--nginx: must be per-service or shared" ;; esac
        ;;
    --network-plugin)
        case "${2-}" in bridge | weave | cni) give network-plugin "$2" && shift ;; *) die "--network-plugin: must be bridge, weave or cni" ;; esac
        ;;
    --nodes) give nodes "${2:?--nodes needs a number}" && shift ;;
    --node-name) give node-name "${2:?--node-name needs a name}" && shift ;;
    --no-build) build=false ;;
    --no-examples) examples=false ;;
    *)
        cluster_flag "$1" "${2-}" || die "unknown argument $1 (see $0 --help)"
        [ -n "${2-}" ] || die "$1 needs a value"
        shift
        ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "needs root, for containers and the pod network: sudo $0"
settle
say "a cluster with $(shown)"

profile=release
! $DEBUG || profile=debug
BUILT=${CARGO_TARGET_DIR:-$ROOT/target}/$profile BIN=$BUILT
! $ONE_FILE || BIN=$BUILT/one-file
ADDRESS=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
ADDRESS=${ADDRESS:-127.0.0.1}
SERVER=https://127.0.0.1:$(port 6443)
# shellcheck disable=SC2153 # set by lib/cluster.sh
export KUBECONFIG=$CONFIG_DIR/admin.conf
PATH=$BIN:$PATH

install() {
    require_rust
    # shellcheck disable=SC2086 # lists of words
    install_missing $BUILD_PACKAGES $RUN_PACKAGES
    install_docker
    [ "$STORE" != etcd ] || command -v etcd >/dev/null || install_missing etcd-server
    ! $REDIS || command -v redis-server >/dev/null || install_missing redis-server
    ! $REGISTRY || command -v docker-registry >/dev/null || install_missing docker-registry
}

compile() {
    local flags=(--workspace --exclude bench --exclude tests --exclude minik8s --bins)
    ! $ONE_FILE || flags=(--package minik8s)
    [ $profile = debug ] || flags+=(--release)
    say "building ($profile)"
    (cd "$ROOT" && as_builder cargo build "${flags[@]}")
}

# metrics PORT: the flag for serving metrics to other hosts, if that is wanted. On the loopback device they are served anyway, but for
# kube-proxy at another port.
metrics() {
    ! $MONITORING || [ "$ADDRESS:$1" = 127.0.0.1:10257 ] || [ "$ADDRESS:$1" = 127.0.0.1:10259 ] ||
        echo "--metrics-bind-address=$ADDRESS:$(port "$1")"
}

start_services() {
    if [ "$STORE" = etcd ]; then
        start etcd etcd --name minik8s --data-dir "$STATE_DIR/etcd" --log-level warn \
            --listen-client-urls "http://127.0.0.1:$(port 2379)" --advertise-client-urls "http://127.0.0.1:$(port 2379)" \
            --listen-peer-urls "http://127.0.0.1:$(port 2380)" --initial-advertise-peer-urls "http://127.0.0.1:$(port 2380)" \
            --initial-cluster "minik8s=http://127.0.0.1:$(port 2380)"
        ready etcd curl -fsS "http://127.0.0.1:$(port 2379)/health"
    fi
    if $REDIS; then
        start redis redis-server --bind 127.0.0.1 --port "$(port 6379)" --save '' --appendonly no --dir "$STATE_DIR"
        ready redis redis-cli -p "$(port 6379)" ping
    fi
}

start_control_plane() {
    local store=(--store embedded) functions host encryption=() balancers=()
    [ "$STORE" != etcd ] || store=(--store etcd --etcd-servers "http://127.0.0.1:$(port 2379)")
    if [ "$(setting secrets-encryption)" = true ]; then
        encryption_config "$STATE_DIR/apiserver/encryption.yaml"
        encryption=(--encryption-provider-config "$STATE_DIR/apiserver/encryption.yaml" --encryption-provider-config-automatic-reload)
    fi
    start apiserver "$BIN/apiserver" --secure-port "$(port 6443)" --advertise-address "$ADDRESS" --service-cidr "$SERVICE_CIDR" \
        --data-dir "$STATE_DIR/apiserver" --kubeconfig-dir "$CONFIG_DIR" "${store[@]}" "${encryption[@]}" "${dns[@]}" "${bus[@]}"
    ready apiserver curl -fsS --max-time 5 --cacert "$STATE_DIR/apiserver/pki/ca.crt" "$SERVER/readyz"
    host=$(setting registry-host)
    if $REGISTRY && [ -z "$host" ]; then
        host=$ADDRESS:$(port 5000)
        start_registry "$host"
    fi
    mapfile -t functions < <(image_flags "$host")
    [ -z "$(setting load-balancer-pool)" ] || balancers=(--load-balancer-pool "$(setting load-balancer-pool)")
    # shellcheck disable=SC2046 # a flag, or none
    start scheduler "$BIN/scheduler" --kubeconfig "$CONFIG_DIR/scheduler.conf" --health-address "127.0.0.1:$(port 10259)" $(metrics 10259) "${bus[@]}"
    # shellcheck disable=SC2046
    start controller-manager "$BIN/controller-manager" --kubeconfig "$CONFIG_DIR/controller-manager.conf" \
        --health-address "127.0.0.1:$(port 10257)" --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" --function-url "http://$ADDRESS:$(port 8081)" \
        --cluster-signing-cert-file "$STATE_DIR/apiserver/pki/ca.crt" --cluster-signing-key-file "$STATE_DIR/apiserver/pki/ca.key" \
        --warm-pool "$WARM_POOL" $(metrics 10257) "${balancers[@]}" "${functions[@]}" "${bus[@]}"
    # Pods call functions too; it answers nobody beyond this host and them.
    start serverless-gateway "$BIN/serverless-gateway" --kubeconfig "$CONFIG_DIR/serverless-gateway.conf" --bind-address 0.0.0.0 \
        --port "$(port 8081)" --cluster-cidr "$CLUSTER_CIDR" --allow-cidr "$ADDRESS/32" "${bus[@]}"
}

# start_kubelet I NODE PROGRAM: the Ith kubelet of this machine.
start_kubelet() {
    local conf=$CONFIG_DIR/kubelet-$2.conf own=()
    ! "$(setting publish-ports)" || own=(--publish-ports)
    [ "$(setting network-plugin)" = bridge ] || own+=(--network-plugin "$(setting network-plugin)")
    [ -e "$conf" ] || "$BIN/apiserver" kubeconfig --data-dir "$STATE_DIR/apiserver" --server "$SERVER" --output "$conf" \
        --user "system:node:$2" --group system:nodes --san "$2" --san "$ADDRESS"
    start "$3" "$BIN/kubelet" --kubeconfig "$conf" --node-name "$2" --node-ip "$ADDRESS" --root-dir "$STATE_DIR/kubelet-$2" \
        --port "$(port $((10250 + 10 * $1)))" --health-address "127.0.0.1:$(port $((10248 + 10 * $1)))" \
        --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" "${own[@]}" "${dns[@]}" "${bus[@]}"
}

start_nodes() {
    local i upstream=() ingress=()
    [ "$(setting ingress-host-ports)" = false ] || ingress=(--ingress-host-ports)
    [ ${#dns[@]} -eq 0 ] || [ -z "$(setting dns-upstream)" ] || upstream=(--dns-upstream "$(setting dns-upstream)")
    guard "$CLUSTER_CIDR"
    guard "$SERVICE_CIDR"
    start_kubelet 0 "$NODE_NAME" kubelet
    for ((i = 2; i <= NODES; i++)); do start_kubelet "$i" "$NODE_NAME-$i" "kubelet-$NODE_NAME-$i"; done
    # One proxy serves the whole machine, however many kubelets it has.
    # shellcheck disable=SC2046 # a flag, or none
    start kube-proxy "$BIN/kube-proxy" --kubeconfig "$CONFIG_DIR/kube-proxy.conf" --node-name "$NODE_NAME" --state-dir "$STATE_DIR/kube-proxy" \
        --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" --health-address "127.0.0.1:$(port 10256)" $(metrics 10249) \
        --proxy-mode "$(setting proxy-mode)" --nginx "$(setting nginx)" "${dns[@]}" "${upstream[@]}" "${ingress[@]}" "${bus[@]}"
}

nodes_ready() { [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" -ge "$NODES" ]; }
short_of_disk() {
    [[ $(kubectl get nodes --output 'jsonpath={.items[*].status.conditions[?(@.type=="DiskPressure")].status}') == *True* ]]
}
show_examples() {
    say "applying examples"
    kubectl apply -f "$ROOT/examples/pod" -f "$ROOT/examples/replicaset" -f "$ROOT/examples/service"
    eventually 120 "the examples' pods to run (kubectl get pods; kubectl describe pod NAME)" pods_running
    kubectl get nodes,pods,rs,services -o wide
}

install
fitting "give"
! $build || compile
! $ONE_FILE || as_builder "$BUILT/minik8s" --install "$BIN"
[ -x "$BIN/apiserver" ] || die "no programs in $BIN: run without --no-build"
"$ROOT/scripts/images.sh" --programs "$BIN"
mkdir -p "$CONFIG_DIR" "$STATE_DIR" "$LOG_DIR" "$RUN_DIR"
remember
bus=() dns=()
[[ "$(setting network-plugin) $(cluster_dns)" != weave*:* ]] || die "--cluster-dns: with weave pods have no address of IPv6, from which to ask $(cluster_dns)"
if [ -n "$(cluster_dns)" ] && ss -Hlntu 'sport = :53' | grep -qE ' (0\.0\.0\.0|\*|\[::\]):53 '; then
    [ "$(setting cluster-dns)" = tenth ] || die "--cluster-dns: a server of this machine has port 53 at every address (ss -lntup 'sport = :53')"
    say "no cluster DNS: a server of this machine has port 53 at every address (ss -lntup 'sport = :53')"
elif [ -n "$(cluster_dns)" ]; then
    dns=(--cluster-dns "$(cluster_dns)")
fi
! $REDIS || bus=(--redis "redis://127.0.0.1:$(port 6379)")
begin=$(date +%s%N)
start_services
start_control_plane
publish_cluster "$ADDRESS:$(port 6443)" "$STATE_DIR/apiserver/pki/ca.crt" "${dns[1]-}" '' "$(setting proxy-mode)" "$(setting nginx)" "$(setting network-plugin)"
start_nodes
healthy scheduler "$(port 10259)"
healthy controller-manager "$(port 10257)"
healthy kube-proxy "$(port 10256)"
healthy serverless-gateway "$(port 8081)"
eventually 60 "the nodes to be Ready (see $LOG_DIR/kubelet.log)" nodes_ready
say "ready after $((($(date +%s%N) - begin) / 1000000)) ms"
! short_of_disk || warn "the disk of $STATE_DIR is nearly full: nodes under DiskPressure get no pods (make room, or start the cluster again with MINIK8S_EVICTION_HARD='memory.available<100Mi,nodefs.available<5%')"
! $examples || show_examples
say "another host joins with what this prints:  kubectl token create --print-join-command"
say "use it:  export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH"
echo "export KUBECONFIG=$KUBECONFIG"
