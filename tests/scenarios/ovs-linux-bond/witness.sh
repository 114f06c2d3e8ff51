#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "answers" "$(lh_answers)" -eq 0
else
	lh_want "answers" "$(lh_answers)" -eq 3
fi
lh_witness
