# Sourced by up.sh and down.sh: the registry that functions' images are pushed to. Not for running by itself.
# shellcheck shell=bash disable=SC2154 # the variables are up.sh's

# What Docker trusts for the registry, and shows to it.
registry_trust() { echo "/etc/docker/certs.d/$1"; }

# kubeconfig_part FILE NAME: a certificate or key of a kubeconfig.
kubeconfig_part() { sed -n "s/^ *$2: *//p" "$1" | base64 -d; }

# start_registry HOST:PORT: on the node's address. Its certificate is of the cluster's CA, and it answers only who has one too:
# whoever may push may have every node run what he likes.
start_registry() {
    local folder=$STATE_DIR/registry trust ca=$STATE_DIR/apiserver/pki/ca.crt
    trust=$(registry_trust "$1")
    mkdir -p "$folder/images" "$trust"
    [ -e "$folder/registry.conf" ] || "$BIN/apiserver" kubeconfig --data-dir "$STATE_DIR/apiserver" --server "$SERVER" \
        --output "$folder/registry.conf" --user minik8s:registry --san "${1%:*}"
    kubeconfig_part "$folder/registry.conf" client-certificate-data >"$folder/tls.crt"
    (umask 077 && kubeconfig_part "$folder/registry.conf" client-key-data >"$folder/tls.key")
    command install -m 644 "$ca" "$trust/ca.crt"
    command install -m 644 "$folder/tls.crt" "$trust/client.cert"
    command install -m 600 "$folder/tls.key" "$trust/client.key"
    cat >"$folder/config.yml" <<CONFIG
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $folder/images}
  delete: {enabled: true}
http:
  addr: $1
  tls: {certificate: $folder/tls.crt, key: $folder/tls.key, clientcas: [$ca]}
CONFIG
    start registry docker-registry serve "$folder/config.yml"
    ready registry curl -fsS --max-time 5 --cacert "$ca" --cert "$folder/tls.crt" --key "$folder/tls.key" "https://$1/v2/"
}

# image_flags [HOST:PORT]: what controller-manager is told of functions' images, a word a line.
image_flags() {
    local secret index
    secret=$(setting registry-secret) index=$(setting package-index)
    printf '%s\n' --function-build-network "$(setting build-network)"
    [ -z "$1" ] || printf '%s\n' --function-registry "$1"
    [ -z "$secret" ] || printf '%s\n' --function-registry-secret "$secret"
    [ -z "$index" ] || printf '%s\n' --function-package-index "$index"
}

# forget_registry: what Docker was told of the registry whose data are in STATE_DIR.
forget_registry() {
    local host
    host=$(sed -n 's/^ *addr: *//p' "$STATE_DIR/registry/config.yml" 2>/dev/null) || return 0
    [ -z "$host" ] || rm -rf "$(registry_trust "$host")"
}
