# Sourced by the scripts: a Docker daemon that answers. Not for running by itself.
# shellcheck shell=bash

# start_docker: starts dockerd if none answers; it outlives the script.
start_docker() {
    docker info >/dev/null 2>&1 && return
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
    else
        say "starting dockerd"
        # A daemon that was killed leaves these behind, and the next one would wait for them.
        as_root rm -f /var/run/docker.pid /run/docker/containerd/containerd.pid
        # --live-restore: containers outlive the daemon.
        as_root setsid sh -c 'exec dockerd --live-restore >/var/log/dockerd.log 2>&1 </dev/null' &
    fi
    eventually 60 "dockerd (see /var/log/dockerd.log)" docker info
}
