#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

learnt=$(sed 's/.*lladdr \([0-9a-f:]*\).*/\1/' "$LH_DIR/neighbour.log")
if [ "$1" = faulty ]; then
	lh_want "the peer takes the host for" "$learnt" = 10:51:72:29:1b:50
	lh_want "answers" "$(lh_answers)" -eq 0
else
	lh_want "the peer takes the host for" "$learnt" = 2e:ce:c1:bb:f4:d9
	lh_want "answers" "$(lh_answers)" -eq 3
fi
lh_witness
