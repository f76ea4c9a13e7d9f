#!/usr/bin/env bash
# Starts Portainer, which shows the containers of this host in a browser. It may do with them whatever root may: whoever opens it first
# becomes its administrator, so it listens on this host alone unless told otherwise.
#
#   scripts/portainer.sh            http://127.0.0.1:9000
#   scripts/portainer.sh --remove   stops it; what it knows stays in the volume portainer_data
#
#   --image IMAGE      (portainer/portainer-ce:lts)
#   --port PORT        (9000)
#   --address ADDRESS  where it listens (127.0.0.1; 0.0.0.0 for everybody)
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/docker.sh"

image=portainer/portainer-ce:lts port=9000 address=127.0.0.1 remove=false
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    --remove) remove=true ;;
    --image | --port | --address)
        declare "${1#--}=${2:?$1 needs a value}"
        shift
        ;;
    *) die "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
done
start_docker
docker rm -f portainer >/dev/null 2>&1 || true
! $remove || exit 0
docker run -d --name portainer --restart always -p "$address:$port:9000" -v /var/run/docker.sock:/var/run/docker.sock \
    -v portainer_data:/data "$image" >/dev/null
say "Portainer: http://$address:$port"
