#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# (The router accepts what the server never will: nothing is read back then.)
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443" --timeout-ms 1500 --limit 5 || true
# What is lost from sight is called so after 5 s.
sleep 6
