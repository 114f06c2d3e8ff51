#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVICE_AT:443" --timeout-ms 1500
