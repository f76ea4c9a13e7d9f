#!/usr/bin/env bash
# Makes the settings, keys and certificates of masters that keep one cluster in etcd, a member on each of them, over TLS, and tell of
# changes over Redis, on the first of them, over TLS and with a password. One master, or three, or five: two are not better than one.
#
#   scripts/masters.sh 10.0.0.1 10.0.0.2 10.0.0.3
#
# masters/ADDRESS is what belongs into /etc/minik8s of that master, and masters/worker what belongs there on every worker. There are
# keys in it: whoever has them has the cluster. masters/store-ca.key belongs on no host: keep it where no network leads, for a member that
# is to take the place of a lost one, and for certificates after these.
#
#   --output DIR         a folder that is not there yet (masters)
#   --cluster-dns IP     where pods ask for names (10.96.0.10)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
umask 077

output=masters dns=10.96.0.10 addresses=()
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    --output) output=${2:?--output needs a folder} && shift ;;
    --cluster-dns) dns=${2:?--cluster-dns needs an address} && shift ;;
    -*) die "unknown argument $1 (see $0 --help)" ;;
    *) addresses+=("$1") ;;
    esac
    shift
done
case ${#addresses[@]} in
1 | 3 | 5) ;;
*) die "one master, or three, or five: give their addresses (see $0 --help)" ;;
esac
[ ! -e "$output" ] || die "$output is there already: its keys would be lost"
command -v openssl >/dev/null || die "needs openssl"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# As the API server makes its own, which last as long.
EXTENSIONS='
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[member]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
subjectAltName = $ENV::NAMES'
export NAMES=IP:127.0.0.1

quietly() { "$@" 2>"$work/said" || die "$1 $2: $(cat "$work/said")"; }

new_key() { quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# authority FILE NAME: FILE.key and FILE.crt.
authority() {
    new_key "$work/$1.key"
    quietly openssl req -x509 -new -key "$work/$1.key" -days 3650 -subj "/CN=$2" -config "$work/extensions" -extensions authority -out "$work/$1.crt"
}

# member ADDRESS FOLDER: a certificate as a server of etcd and Redis, and as a client of etcd.
member() {
    NAMES=IP:$1,IP:127.0.0.1
    new_key "$2/store.key"
    quietly openssl req -new -key "$2/store.key" -subj "/CN=$1" -config "$work/extensions" -out "$work/request"
    quietly openssl x509 -req -in "$work/request" -CA "$work/store-ca.crt" -CAkey "$work/store-ca.key" -CAcreateserial -days 3650 \
        -extfile "$work/extensions" -extensions member -out "$2/store.crt"
}

# each PATTERN: with every address in the place of @, and commas.
each() {
    local address words=()
    for address in "${addresses[@]}"; do words+=("${1//@/$address}"); done
    (IFS=, && echo "${words[*]}")
}

cluster_env() {
    cat <<END
MINIK8S_CLUSTER_DNS=$dns
MINIK8S_REDIS=rediss://:$password@${addresses[0]}:6379
MINIK8S_REDIS_CA_FILE=/etc/minik8s/store-ca.crt
END
}

apiserver_env() {
    cat <<END
MINIK8S_ADVERTISE_ADDRESS=$1
MINIK8S_STORE=etcd
MINIK8S_ETCD_SERVERS=$(each https://@:2379)
MINIK8S_ETCD_CAFILE=/etc/minik8s/store-ca.crt
MINIK8S_ETCD_CERTFILE=/etc/minik8s/pki/store.crt
MINIK8S_ETCD_KEYFILE=/etc/minik8s/pki/store.key
MINIK8S_CA_CERT_FILE=/etc/minik8s/pki/ca.crt
MINIK8S_CA_KEY_FILE=/etc/minik8s/pki/ca.key
MINIK8S_SERVICE_ACCOUNT_SIGNING_KEY_FILE=/etc/minik8s/pki/sa.key
END
}

etcd_env() {
    cat <<END
ETCD_NAME=$1
ETCD_LISTEN_CLIENT_URLS=https://$1:2379
ETCD_ADVERTISE_CLIENT_URLS=https://$1:2379
ETCD_LISTEN_PEER_URLS=https://$1:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://$1:2380
ETCD_INITIAL_CLUSTER=$(each @=https://@:2380)
END
}

redis_conf() {
    printf '%s\n' "bind $1" 'port 0' 'tls-port 6379' 'tls-auth-clients no' "requirepass $password" 'save ""' 'appendonly no'
}

# What masters have in common, and what each has of its own.
master() {
    local to=$output/$1
    mkdir -p "$to/pki"
    cluster_env >"$to/cluster.env"
    apiserver_env "$1" >"$to/apiserver.env"
    etcd_env "$1" >"$to/etcd.env"
    [ "$1" != "${addresses[0]}" ] || redis_conf "$1" >"$to/redis.conf"
    cp "$work"/{ca.crt,ca.key,sa.key} "$to/pki/"
    cp "$work/store-ca.crt" "$to/"
    member "$1" "$to/pki"
}

echo "$EXTENSIONS" >"$work/extensions"
password=$(openssl rand -hex 24)
authority ca minik8s-ca
authority store-ca minik8s-store-ca
new_key "$work/sa.key"
mkdir -p "$output/worker"
for address in "${addresses[@]}"; do master "$address"; done
cluster_env >"$output/worker/cluster.env"
cp "$work/store-ca.crt" "$output/worker/"
cp "$work/store-ca.key" "$output/"
# Programs without rights read it, to know Redis.
chmod 644 "$output"/*/store-ca.crt
say "made $output/{$(each @),worker}: copy each into /etc/minik8s of its hosts, then start minik8s-master.target on all masters at once; keep store-ca.key offline"
