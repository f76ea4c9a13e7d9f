//! Three masters as `scripts/masters.sh` makes them, each with an etcd of its own: real programs, each host by an address of loopback.

use crate::host::{beside_copies, built, check, programs_that_say};

/// Three copies of this host, joined to one cluster, and what is done with them.
const MASTERS: &str = r#"
    MASTERS=(127.0.1.1 127.0.1.2 127.0.1.3)
    umask 022
    scripts/masters.sh "${MASTERS[@]}" --output "$HERE/masters"
    make() {
        local to=$HERE/$1/root/etc/minik8s
        copy "$1"
        mkdir -p "$to"
        cp -r "$HERE/masters/$1/." "$to/"
        # They are one host, so each has its address to itself.
        echo "MINIK8S_BIND_ADDRESS=$1" | tee -a "$to/apiserver.env" >"$to/serverless-gateway.env"
        echo "MINIK8S_HEALTH_ADDRESS=$1:10259" >"$to/scheduler.env"
        echo "MINIK8S_HEALTH_ADDRESS=$1:10257" >"$to/controller-manager.env"
        within "$1" "scripts/install.sh master --no-start --bin $PROGRAMS --release one"
    }
    begin() { within "$1" 'systemctl start minik8s-master.target'; }
    die_at_once() {
        local file pid
        for file in "$HERE/$1"/root/run/stand-in/*.pid; do
            read -r pid _ <"$file"
            kill -9 "$pid"
        done
    }
    # ask ADDRESS WORD…: as the administrator, of that master.
    ask() {
        local at=$1
        shift
        timeout 10 "$PROGRAMS/kubectl" --kubeconfig "$HERE/$at/root/var/lib/minik8s/kubeconfigs/admin.conf" "$@"
    }
    # Writes as long as it is let, by whichever master answers, and keeps in mind what was acknowledged.
    load() {
        local n=0 at
        while [ ! -e "$HERE/enough" ]; do
            n=$((n + 1))
            for at in "${MASTERS[@]}"; do
                ! ask "$at" create configmap "load-$n" >/dev/null 2>&1 || { echo "configmap/load-$n" >>"$HERE/acknowledged"; break; }
            done
        done
    }
    acknowledged() { wc -l <"$HERE/acknowledged"; }
    goes_on() {
        local from
        from=$(acknowledged)
        eventually 60 "writes to go on" more_than $((from + 5))
    }
    more_than() { [ "$(acknowledged)" -ge "$1" ]; }
    # Of each replicated program one works: a set gets its pod, and the pod is told that there is no node.
    controlled() { [ "$(ask "$1" get pods -l app="$2" --no-headers | wc -l)" = 1 ] && ask "$1" get events | grep -q "$2.*no nodes available\|FailedScheduling.*$2"; }
"#;

#[test]
fn each_of_three_masters_may_die_under_load() {
    let script = r#"
        . scripts/lib/common.sh
        for master in "${MASTERS[@]}"; do make $master; done
        for master in "${MASTERS[@]}"; do begin $master & starting+=($!); done
        for one in "${starting[@]}"; do wait "$one"; done
        : >"$HERE/acknowledged"
        load &
        writing=$!
        goes_on
        for i in 0 1 2; do
            dead=${MASTERS[i]} other=${MASTERS[(i + 1) % 3]}
            die_at_once "$dead"
            goes_on
            ask "$other" create deployment "d$i" --image=none
            eventually 60 "a pod of d$i, seen by a scheduler" controlled "$other" "d$i"
            begin "$dead"
            goes_on
        done
        touch "$HERE/enough"
        wait $writing
        echo --
        for master in "${MASTERS[@]}"; do
            ask "$master" get configmaps -o name >"$HERE/there"
            missing=$(sort "$HERE/acknowledged" | comm -23 - <(sort "$HERE/there") | wc -l)
            echo "$master lacks $missing"
        done
        # Nobody may read the password, nor is it in what is written down.
        password=$(sed -n 's/^requirepass //p' "$HERE/masters/127.0.1.1/redis.conf")
        if grep -l "$password" "$HERE"/*/root/run/stand-in/*.log "$HERE/127.0.1.1/root/proc"/[0-9]*/cmdline; then echo "for all to see"; fi
        grep -h "connected to Redis" "$HERE"/*/root/run/stand-in/minik8s-scheduler.service.log | sed 's/.*connected/connected/' | sort -u
    "#;
    let (code, said) = beside_copies(&built(), &format!("{MASTERS}{script}"));
    assert_eq!(code, 0, "{said}");
    let expected = "127.0.1.1 lacks 0\n127.0.1.2 lacks 0\n127.0.1.3 lacks 0\n\
        connected to Redis for listening\nconnected to Redis for sending\n";
    assert_eq!(said.split_once("--\n").map(|(_, shown)| shown), Some(expected), "{said}");
}

#[test]
fn the_key_of_the_stores_authority_is_kept_and_no_hosts() {
    let programs = programs_that_say("nothing");
    let script = r#"
        scripts/masters.sh 10.0.0.1 --output /tmp/masters
        echo --
        find /tmp/masters -name 'store-ca.key' -printf '%P %m\n'
        openssl pkey -in /tmp/masters/store-ca.key -pubout >/tmp/key
        openssl x509 -in /tmp/masters/worker/store-ca.crt -noout -pubkey | cmp - /tmp/key && echo "the authority's""#;
    check(programs.path(), script, "store-ca.key 600\nthe authority's\n");
}
