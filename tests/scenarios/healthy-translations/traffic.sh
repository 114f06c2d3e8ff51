#!/bin/sh
. "$(dirname "$0")/../lib.sh"

tcp() { lh_peer lh-client tcp-connect "$@"; }
udp() { lh_peer lh-client udp-send "$@"; }

# Both ends translated; the same port again, to the same and to another address.
tcp --from "$CLIENT_AT:4000" --to "$SERVICE_AT:443"
tcp --from "$CLIENT_AT:4000" --to "$SERVICE_AT:443"
tcp --from "$CLIENT_AT:4000" --to "$SERVICE_AT:444"
# The source only, from the same port, beside it: the server's own address.
tcp --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443"
# The destination only, and silent for a while; a transfer.
tcp --from "$CLIENT_AT:4001" --to "$SERVICE_AT:444" --hold-ms 1500
tcp --from "$CLIENT_AT:4002" --to "$SERVICE_AT:443" --bytes 200000
# Datagrams and their echoes, with pauses; to both addresses from one port.
udp --from "$CLIENT_AT:5000" --to "$SERVICE_AT:443" --count 5 --gap-ms 100 --await-ms 1000
udp --from "$CLIENT_AT:5000" --to "$SERVER_AT:8443" --count 2 --await-ms 1000
udp --from "$CLIENT_AT:5001" --to "$SERVICE_AT:444" --count 3 --await-ms 1000
# Echoes, translated at one end and at both.
ip netns exec lh-client ping -c 2 -i 0.2 -W 2 "$SERVER"
ip netns exec lh-client ping -c 2 -i 0.2 -W 2 "$SERVICE"
