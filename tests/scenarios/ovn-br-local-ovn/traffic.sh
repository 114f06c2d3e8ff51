#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-node tcp-connect --from 192.168.88.2:3636 --to "$SERVICE:443" >"$LH_DIR/client.log"
