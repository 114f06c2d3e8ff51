use super::*;

fn survives<T: FromStr + Display>(word: &str) {
    let parsed = word.parse::<T>().ok().map(|value| value.to_string());
    assert_eq!(parsed.as_deref(), Some(word));
}

#[test]
fn words_survive_the_round_trip() {
    survives::<Mac>("02:00:00:00:0a:ff");
    survives::<Address>("0x0");
    survives::<Address>("0xffff888012345600");
    survives::<Fingerprint>("00000000000f100d");
    survives::<TcpFlags>("SA");
    survives::<TcpFlags>("");
    survives::<ArpOp>("reply");
    survives::<ArpOp>("9");
    for name in ["tcp", "udp", "icmp", "icmp6", "sctp", "arp", "ip-47"] {
        survives::<Proto>(name);
    }
}

#[test]
fn a_mac_is_six_pairs_of_digits() {
    let mac: Mac = "02:00:00:00:0A:ff".parse().unwrap();
    assert_eq!(mac.to_string(), "02:00:00:00:0a:ff");
    assert!(!mac.is_group());
    assert!("33:33:00:00:00:01".parse::<Mac>().unwrap().is_group());
    for bad in ["", "02:00:00:00:0a", "02:00:00:00:0a:ff:00", "2:0:0:0:a:f", "+2:00:00:00:00:0"] {
        assert_eq!(bad.parse::<Mac>(), Err(NotA("MAC address")), "{bad}");
    }
    assert!("02-00-00-00-0a-ff".parse::<Mac>().is_err());
    assert!("02:00:00:00:0a:é".parse::<Mac>().is_err());
}

#[test]
fn numbers_have_no_sign() {
    assert!("0x+1".parse::<Address>().is_err() && "+1".parse::<Fingerprint>().is_err());
    assert!("ff".parse::<Address>().is_err() && "".parse::<Fingerprint>().is_err());
    assert!("0x".parse::<Address>().is_err() && "0g".parse::<Fingerprint>().is_err());
}

#[test]
fn addresses_are_numbers_of_64_bits() {
    let as_json = |address| serde_json::to_string(&Address(address)).unwrap();
    for (text, number) in [("0", 0), ("00000000000000000ff", 0xff), ("ffffffffffffffff", u64::MAX)]
    {
        let parsed: Address = format!("0x{text}").parse().unwrap();
        assert_eq!((parsed, as_json(number)), (Address(number), format!("\"0x{number:x}\"")));
    }
    assert_eq!("0xAbC".parse(), Ok(Address(0xabc)));
    assert!("0x10000000000000000".parse::<Address>().is_err());
}

#[test]
fn flags_tell_openings_from_answers() {
    assert!(TcpFlags::parse("S").is_syn());
    assert!(!TcpFlags::parse("SA").is_syn() && TcpFlags::parse("SA").is_syn_ack());
    assert!(TcpFlags::parse("SEC").is_syn());
    assert!(TcpFlags::parse("RA").is_reset() && !TcpFlags::parse("A").is_syn_ack());
    assert_eq!(TcpFlags::from_wire(0x12), TcpFlags::parse("SA"));
    assert_eq!(TcpFlags::from_wire(0x11).to_string(), "FA");
}

#[test]
fn a_protocol_of_tomorrow_is_unknown() {
    assert_eq!(Proto::parse("ip-256"), None);
    assert_eq!("quic".parse(), Ok(Proto::Unknown));
}
