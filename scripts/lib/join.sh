# Sourced by up.sh and join.sh: what a cluster tells hosts that join it, and how they know that it is the one that is meant.
# Not for running by itself.
# shellcheck shell=bash

# The group of the tokens that `kubectl token create` makes.
JOINING=system:bootstrappers:kubeadm:default-node-token

# publish_cluster HOST:PORT CA_FILE CLUSTER_DNS REDIS PROXY_MODE NGINX_FORM NETWORK_PLUGIN: what anybody may know of the cluster, in kubeadm's ConfigMap
# kube-public/cluster-info, and what nodes need to know. The administrator's kubeconfig is in $KUBECONFIG.
publish_cluster() {
    local server=$1 authority dns=$3 redis=$4
    authority=$(base64 -w0 "$2")
    kubectl apply -f - >/dev/null <<MANIFEST
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data:
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters:
    - name: ""
      cluster:
        certificate-authority-data: $authority
        server: https://$server
---
apiVersion: v1
kind: ConfigMap
metadata: {name: node-config, namespace: kube-system}
data: {cluster-cidr: "$CLUSTER_CIDR", service-cidr: "$SERVICE_CIDR", cluster-dns: "$dns", redis-url: "$redis", proxy-mode: "$5", nginx: "$6", network-plugin: "$7"}
---
$(readable kube-public cluster-info "kind: User" system:anonymous)
---
$(readable kube-system node-config "kind: Group" $JOINING system:nodes)
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "kubeadm:get-nodes"}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "kubeadm:get-nodes"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "kubeadm:get-nodes"}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "$JOINING"}
MANIFEST
}

# readable NAMESPACE CONFIGMAP KIND NAME…: a role to read that ConfigMap, and who has it.
readable() {
    local name
    cat <<MANIFEST
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "minik8s:$2", namespace: $1}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [$2], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "minik8s:$2", namespace: $1}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "minik8s:$2"}
subjects:
MANIFEST
    for name in "${@:4}"; do echo "- {apiGroup: rbac.authorization.k8s.io, $3, name: \"$name\"}"; done
}

# public_key_hash FILE: of the first certificate in it, as kubeadm has it.
public_key_hash() {
    local digest
    digest=$(openssl x509 -pubkey -noout -in "$1" | openssl pkey -pubin -outform der | sha256sum) || return 1
    echo "sha256:${digest%% *}"
}

# discover HOST:PORT HASH FILE: writes the certificate of the cluster's authority, which anybody could have sent, if its key
# has this hash: only who made the cluster has that. Then the server must show one of its certificates.
discover() {
    local info found
    info=$(curl -fsSk --max-time 10 "https://$1/api/v1/namespaces/kube-public/configmaps/cluster-info") ||
        die "no cluster answers at $1, or it does not say which it is (ConfigMap kube-public/cluster-info)"
    # One certificate: whatever may follow it was not vouched for.
    grep -o 'certificate-authority-data: *[A-Za-z0-9+/=]*' <<<"$info" | head -n 1 | sed 's/.*: *//' | base64 -d 2>/dev/null |
        openssl x509 -out "$3.new" 2>/dev/null || die "$1 tells of no authority"
    found=$(public_key_hash "$3.new")
    [ "$found" = "$2" ] || { rm -f "$3.new" && die "the authority of $1 is another one: its key is $found, not $2"; }
    mv "$3.new" "$3"
    curl -fsS --max-time 10 --cacert "$3" -o /dev/null "https://$1/version" || die "$1 shows no certificate of its authority that names it"
}

# bootstrap_kubeconfig HOST:PORT CA_FILE TOKEN: with what a kubelet asks for its certificate.
bootstrap_kubeconfig() {
    cat <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://$1", certificate-authority-data: $(base64 -w0 "$2")}}]
users: [{name: joining, user: {token: "$3"}}]
contexts: [{name: default, context: {cluster: default, user: joining}}]
current-context: default
CONFIG
}

# of_kubeconfig FILE KEY: what a kubeconfig that a kubelet has written says there.
of_kubeconfig() { sed -n "s/.*\"$2\": *\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1; }

# is_good KUBECONFIG: whether there is one whose certificate has not ended.
is_good() {
    [ -e "$1" ] && of_kubeconfig "$1" client-certificate-data | base64 -d 2>/dev/null | openssl x509 -noout -checkend 0 >/dev/null 2>&1
}

# has_authority KUBECONFIG CA_FILE: whether it is of the cluster whose authority that is.
has_authority() {
    [ -e "$1" ] && [ "$(of_kubeconfig "$1" certificate-authority-data | base64 -d 2>/dev/null)" = "$(cat "$2")" ]
}

# leads_to KUBECONFIG HOST:PORT CA_FILE: whether a node needs no other kubeconfig for that cluster.
leads_to() { is_good "$1" && has_authority "$1" "$3" && [ "$(of_kubeconfig "$1" server)" = "https://$2" ]; }

# set_aside KUBECONFIG KUBELET_DIR: what a kubelet has of another cluster, or what has ended. Nothing is deleted.
set_aside() {
    [ ! -e "$1" ] || mv -f "$1" "$1.old"
    [ ! -d "$2/pki" ] || { rm -rf "$2/pki.old" && mv "$2/pki" "$2/pki.old"; }
}
