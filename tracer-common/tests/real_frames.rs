//! Frames of real kernels, held against what scapy 2.x reads in them.

mod common;

use common::describe::describe;
use common::{frames, hex, invariants};

macro_rules! frames {
    ($($test:ident: $frame:ident => $lines:expr;)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(describe(&hex(frames::$frame)), $lines);
            }
        )*

        #[test]
        fn cut_anywhere_they_show_less_and_nothing_else() {
            for frame in [$(frames::$frame),*].map(hex) {
                for cut in 0..frame.len() {
                    invariants::cut_at(&frame, cut);
                }
            }
        }
    };
}

frames! {
    arp_request: ARP_REQUEST =>
        ["arp 10.9.1.1 > 10.9.1.2 ttl 0 len 28",
         "op 1 from 02:00:00:00:01:01 to 00:00:00:00:00:00"];
    arp_reply: ARP_REPLY =>
        ["arp 10.9.1.2 > 10.9.1.1 ttl 0 len 28",
         "op 2 from 02:00:00:00:01:02 to 02:00:00:00:01:01"];
    icmp_echo: ICMP_ECHO =>
        ["icmp 10.9.1.1 > 10.9.2.1 ttl 64 len 84 id 40019 df",
         "type 8 code 0 id 250 seq 1"];
    icmp_echo_reply: ICMP_ECHO_REPLY =>
        ["icmp 10.9.2.1 > 10.9.1.1 ttl 63 len 84 id 64170",
         "type 0 code 0 id 250 seq 1"];
    icmp_record_route: ICMP_RECORD_ROUTE =>
        ["icmp 10.9.1.1 > 10.9.2.1 ttl 64 len 124 id 40148 df",
         "type 8 code 0 id 255 seq 1"];
    icmp_time_exceeded: ICMP_TIME_EXCEEDED =>
        ["icmp 10.9.1.2 > 10.9.1.1 ttl 64 len 112 id 15408",
         "type 11 code 0",
         "icmp 10.9.1.1 > 10.9.2.1 ttl 1 len 84 id 40105 df",
         "type 8 code 0 id 254 seq 1"];
    icmp_port_unreachable: ICMP_PORT_UNREACHABLE =>
        ["icmp 10.9.2.1 > 10.9.1.1 ttl 63 len 83 id 64435",
         "type 3 code 3",
         "udp 10.9.1.1:56615 > 10.9.2.1:9999 ttl 63 len 55 id 23906 df"];
    icmp_fragmentation_needed: ICMP_FRAGMENTATION_NEEDED =>
        ["icmp 10.9.2.1 > 10.9.1.1 ttl 63 len 576 id 64919",
         "type 3 code 4 mtu 1280",
         "icmp 10.9.1.1 > 10.9.3.9 ttl 63 len 1428 id 0 df",
         "type 8 code 0 id 265 seq 1"];
    first_fragment: FIRST_FRAGMENT =>
        ["icmp 10.9.1.1 > 10.9.2.1 ttl 64 len 1500 id 40091 frag 0+",
         "type 8 code 0 id 252 seq 1"];
    middle_fragment: MIDDLE_FRAGMENT =>
        ["icmp 10.9.1.1 > 10.9.2.1 ttl 64 len 1500 id 40091 frag 1480+"];
    last_fragment: LAST_FRAGMENT =>
        ["icmp 10.9.1.1 > 10.9.2.1 ttl 64 len 1068 id 40091 frag 2960"];
    mld_report: MLD_REPORT =>
        ["icmp6 fe80::ff:fe00:102 > ff02::16 ttl 1 len 96",
         "type 143 code 0"];
    icmp6_echo: ICMP6_ECHO =>
        ["icmp6 fd09:1::1 > fd09:2::1 ttl 64 len 104",
         "type 128 code 0 id 251 seq 1"];
    icmp6_port_unreachable: ICMP6_PORT_UNREACHABLE =>
        ["icmp6 fd09:2::1 > fd09:1::1 ttl 63 len 123",
         "type 1 code 4",
         "udp [fd09:1::1]:38169 > [fd09:2::1]:9999 ttl 63 len 75"];
    icmp6_packet_too_big: ICMP6_PACKET_TOO_BIG =>
        ["icmp6 fd09:2::1 > fd09:1::1 ttl 63 len 1280",
         "type 2 code 0 mtu 1280",
         "icmp6 fd09:1::1 > fd09:3::9 ttl 63 len 1448",
         "type 128 code 0 id 266 seq 1"];
    first_fragment6: FIRST_FRAGMENT6 =>
        ["icmp6 fd09:1::1 > fd09:2::1 ttl 64 len 1496 id 2268822957 frag 0+",
         "type 128 code 0 id 253 seq 1"];
    middle_fragment6: MIDDLE_FRAGMENT6 =>
        ["icmp6 fd09:1::1 > fd09:2::1 ttl 64 len 1496 id 2268822957 frag 1448+"];
    last_fragment6: LAST_FRAGMENT6 =>
        ["icmp6 fd09:1::1 > fd09:2::1 ttl 64 len 1160 id 2268822957 frag 2896"];
    tcp_syn: TCP_SYN =>
        ["tcp 10.9.1.1:54550 > 10.9.2.1:80 ttl 64 len 60 id 54900 df",
         "S seq 3647536166 ack 0 header 40"];
    tcp_syn_ack: TCP_SYN_ACK =>
        ["tcp 10.9.2.1:80 > 10.9.1.1:54550 ttl 63 len 60 id 0 df",
         "SA seq 603086285 ack 3647536167 header 40"];
    tcp_data: TCP_DATA =>
        ["tcp 10.9.1.1:54550 > 10.9.2.1:80 ttl 64 len 93 id 54902 df",
         "PA seq 3647536167 ack 603086286 header 32"];
    tcp6_syn: TCP6_SYN =>
        ["tcp [fd09:1::1]:37168 > [fd09:2::1]:80 ttl 64 len 80",
         "S seq 2433111666 ack 0 header 40"];
    syn_unanswered: SYN_UNANSWERED =>
        ["tcp 10.9.1.1:51414 > 10.9.2.1:81 ttl 64 len 60 id 31189 df",
         "S seq 1993915906 ack 0 header 40"];
    syn_again: SYN_AGAIN =>
        ["tcp 10.9.1.1:51414 > 10.9.2.1:81 ttl 64 len 60 id 31190 df",
         "S seq 1993915906 ack 0 header 40"];
    udp: UDP =>
        ["udp 10.9.1.1:56615 > 10.9.2.1:9999 ttl 64 len 55 id 23906 df"];
    udp_one_byte: UDP_ONE_BYTE =>
        ["udp 10.9.1.1:56615 > 10.9.2.1:9998 ttl 64 len 29 id 23909 df"];
    udp_ip_options: UDP_IP_OPTIONS =>
        ["udp 10.9.1.1:52761 > 10.9.2.1:9996 ttl 64 len 55 id 24095 df"];
    udp6_two_extensions: UDP6_TWO_EXTENSIONS =>
        ["udp [fd09:1::1]:49034 > [fd09:2::1]:9997 ttl 64 len 100"];
    udp6_two_extensions_first_fragment: UDP6_TWO_EXTENSIONS_FIRST_FRAGMENT =>
        ["udp [fd09:1::1]:49034 > [fd09:2::1]:9997 ttl 64 len 1496 id 2229954006 frag 0+"];
    udp6_two_extensions_last_fragment: UDP6_TWO_EXTENSIONS_LAST_FRAGMENT =>
        ["udp fd09:1::1 > fd09:2::1 ttl 64 len 656 id 2229954006 frag 1424"];
    udp6_authenticated: UDP6_AUTHENTICATED =>
        ["udp [fd09:1::1]:59625 > [fd09:2::1]:9995 ttl 64 len 111"];
    sctp_init: SCTP_INIT =>
        ["sctp 10.9.1.1:33154 > 10.9.2.1:2905 ttl 64 len 68 id 0 df"];
    sctp6_init: SCTP6_INIT =>
        ["sctp [fd09:1::1]:38297 > [fd09:2::1]:2905 ttl 64 len 88"];
    vlan: VLAN =>
        ["vlan c5p3",
         "udp 10.9.5.1:45373 > 10.9.5.2:53 ttl 64 len 35 id 16767 df"];
    qinq: QINQ =>
        ["vlan s100p0 c7p0",
         "udp 10.9.7.1:45373 > 10.9.7.2:53 ttl 64 len 36 id 46426 df"];
    vxlan: VXLAN =>
        ["udp 10.9.1.1:53262 > 10.9.2.1:4789 ttl 64 len 134 id 26598",
         "vxlan 42",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 52382 df",
         "type 8 code 0 id 318 seq 1"];
    vxlan_vlan: VXLAN_VLAN =>
        ["udp 10.9.1.1:57827 > 10.9.2.1:4789 ttl 64 len 138 id 30324",
         "vxlan 45",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 60268 df",
         "type 8 code 0 id 527 seq 1"];
    vxlan_over_ip6: VXLAN_OVER_IP6 =>
        ["udp [fd09:1::1]:53262 > [fd09:2::1]:8472 ttl 64 len 154",
         "vxlan 44",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 54098 df",
         "type 8 code 0 id 358 seq 1"];
    geneve: GENEVE =>
        ["udp 10.9.1.1:47575 > 10.9.2.1:6081 ttl 64 len 134 id 27252",
         "geneve 43",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 52690 df",
         "type 8 code 0 id 338 seq 1"];
    geneve_options: GENEVE_OPTIONS =>
        ["udp 10.9.1.1:47575 > 10.9.2.1:6081 ttl 0 len 142 id 29953",
         "geneve 77",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 59502 df",
         "type 8 code 0 id 513 seq 1"];
    gre: GRE =>
        ["gre 10.9.1.1 > 10.9.2.1 ttl 64 len 84 id 29535 df",
         "gre",
         "tcp 192.168.9.1:58766 > 192.168.9.2:443 ttl 64 len 60 id 48071 df",
         "S seq 1931399735 ack 0 header 40"];
    gre_key_checksum_sequence: GRE_KEY_CHECKSUM_SEQUENCE =>
        ["gre 10.9.1.1 > 10.9.2.1 ttl 64 len 96 id 30012 df",
         "gre 7",
         "tcp 192.168.9.1:35402 > 192.168.9.2:443 ttl 64 len 60 id 52035 df",
         "S seq 1048988983 ack 0 header 40"];
    gretap: GRETAP =>
        ["gre 10.9.1.1 > 10.9.2.1 ttl 64 len 126 id 32473 df",
         "gre 9",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 55724 df",
         "type 8 code 0 id 412 seq 1"];
    gre_over_ip6: GRE_OVER_IP6 =>
        ["gre fd09:1::1 > fd09:2::1 ttl 64 len 160",
         "gre 5",
         "icmp6 fdee::1 > fdee::2 ttl 64 len 104",
         "type 128 code 0 id 478 seq 1"];
    gretap_over_ip6: GRETAP_OVER_IP6 =>
        ["gre fd09:1::1 > fd09:2::1 ttl 64 len 150",
         "gre",
         "icmp 192.168.9.1 > 192.168.9.2 ttl 64 len 84 id 58165 df",
         "type 8 code 0 id 496 seq 1"];
    ipip: IPIP =>
        ["ipip 10.9.1.1 > 10.9.2.1 ttl 64 len 80 id 42261 df",
         "ipip",
         "tcp 192.168.9.1:54072 > 192.168.9.2:443 ttl 64 len 60 id 55687 df",
         "S seq 225793981 ack 0 header 40"];
    ip6_in_ip4: IP6_IN_IP4 =>
        ["ipv6 10.9.1.1 > 10.9.2.1 ttl 64 len 124 id 14832 df",
         "ipip",
         "icmp6 fdee::1 > fdee::2 ttl 64 len 104",
         "type 128 code 0 id 446 seq 1"];
    ip4_in_ip6: IP4_IN_IP6 =>
        ["ipip fd09:1::1 > fd09:2::1 ttl 64 len 108",
         "ipip",
         "tcp 192.168.9.1:54076 > 192.168.9.2:443 ttl 64 len 60 id 57328 df",
         "S seq 2588531361 ack 0 header 40"];
    ip6_in_ip6: IP6_IN_IP6 =>
        ["ipv6 fd09:1::1 > fd09:2::1 ttl 64 len 152",
         "ipip",
         "icmp6 fdee::1 > fdee::2 ttl 64 len 104",
         "type 128 code 0 id 463 seq 1"];
}
