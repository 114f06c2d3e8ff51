#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

invalid=$(lh_hits br-int table=72,ct_state=+inv+trk)
tunnel=$(lh_rx lh-remote gre1)
# The same packet without its checksum, as people trace it by hand.
simulated=$(ovs-appctl ofproto/trace br-int "in_port=3,icmp6,dl_src=fa:16:3e:a8:7e:f6,dl_dst=fe:16:3e:0d:9a:cf,ipv6_src=$HM0,ipv6_dst=$AMPHORA,icmpv6_type=128" |
	grep -c 'output to kernel tunnel' || true)
lh_want "simulated packets that leave through the tunnel" "$simulated" -eq 1
[ "$1" = healthy ] || lh_want "packets out of the tunnel" "$tunnel" -eq 0
lh_want_of "$1" "invalid packets" "$invalid" 3 0
lh_want_of "$1" "answers" "$(lh_answers)" 0 3
lh_witness
