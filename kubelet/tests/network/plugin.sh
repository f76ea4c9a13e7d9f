#!/bin/sh
# Stands in for plugins of CNI: writes down what it is asked.
here=$(dirname "$0") name=$(basename "$0")
before=$(grep -o '"prevResult":{[^}]*"by":"[^"]*' | sed 's/.*"//')
echo "$CNI_COMMAND $name $CNI_CONTAINERID $CNI_IFNAME${CNI_NETNS:+ inside}${before:+ after $before}" >>"$here/calls"
if [ "$(cat "$here/$name.refuses" 2>/dev/null)" = "$CNI_COMMAND" ]; then
    echo '{"cniVersion": "1.0.0", "code": 11, "msg": "try again later", "details": "as the test wants it"}'
    exit 1
fi
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion": "1.0.0", "by": "'"$name"'", "ips": [{"address": "10.219.1.9/24"}]}'
