#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

stale=$(lh_hits br-int table=61,dl_dst=fa:16:3e:7b:ee:62)
if [ "$1" = faulty ]; then
	lh_want "packets to port 775" "$stale" -ge 3
	lh_want "answers" "$(lh_answers)" -eq 0
else
	lh_want "packets to port 775" "$stale" -eq 0
	lh_want "answers" "$(lh_answers)" -eq 3
fi
lh_witness
