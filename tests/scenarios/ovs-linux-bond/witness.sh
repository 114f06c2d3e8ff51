#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_want_of "$1" "answers" "$(lh_answers)" 0 3
lh_witness
