//! Open vSwitch dropped it.

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, Ovs, Where};
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, datapath, matter, netfilter, next, pipeline, words};

/// A packet of the flow was dropped by Open vSwitch: the kernel says so, or its actions sent it
/// nowhere.
pub fn dropped_by_ovs(flow: &Flow) -> Option<Finding> {
    let loss = sentence::worst(flow, Outcome::DroppedByOvs)?;
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let reason = at.raw_reason().filter(|r| *r != "NOT_SPECIFIED");
    let named = reason.map(|r| format!(" [{}]", words::safe(r))).unwrap_or_default();
    let owner = loss.owner.as_deref();
    let (subject, netns) = (sentence::subject(flow, loss), netns(loss));
    // The tables tell more than the datapath, which only does what they came to.
    let text = match owner.and_then(pipeline::end) {
        Some(end) => {
            format!("{subject} dropped by Open vSwitch{netns}{end}{named}{}", so_far(flow, loss))
        }
        None => format!(
            "{subject} dropped by Open vSwitch{netns}{}{}{}: {}{named}",
            by_port(loss).map(|port| format!(", which it entered {port}")).unwrap_or_default(),
            datapath::after_ct(&loss.passage),
            sentence::translation(&loss.first, at),
            cause(at, loss),
        ),
    };
    let clash = netfilter::explain(flow, loss);
    let room =
        if clash.is_none() && owner.and_then(pipeline::end).is_none() { room(loss) } else { None };
    let text = format!(
        "{text}.{}{}{}{}{}",
        clash.as_ref().map(|c| format!(" There {}.", c.words)).unwrap_or_default(),
        room.as_ref().map(|(text, _)| text.as_str()).unwrap_or_default(),
        owner.map(|o| pipeline::sender(o) + &pipeline::besides(o)).unwrap_or_default(),
        asked(loss),
        others::rest(flow, loss),
    );
    let mut next = owner.map(pipeline::commands).unwrap_or_default();
    next.extend(room.into_iter().flat_map(|(_, commands)| commands));
    if owner.is_some_and(pipeline::knows_no_port) {
        next.push(next::TUNNELS.to_owned());
    }
    next.extend(clash.into_iter().flat_map(|c| c.next));
    next.extend(next::commands(matter::Matter::Ovs, &next::Spot::new(at, before)));
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: Where { bridge: owner.and_then(|o| o.bridge.clone()), ..place(at, loss) },
        reason: reason.map(str::to_owned),
        text,
        next,
        evidence: loss.evidence.clone(),
        rule: owner.cloned().map(Box::new),
    })
}

/// Where it died: what was being sent died at the port that it was to leave by, though the skb still
/// has the device that it came by, and though the compiler may have made the call of `ovs_vport_send`
/// a jump, which leaves its caller's name: its hop tells that it was there.
fn place(at: &Sight, loss: &Loss) -> Where {
    let Some(output) = loss.passage.last().filter(|_| was_being_sent(loss)) else {
        return at.place();
    };
    let mut place = at.place();
    if at.symbol().is_some_and(|s| matches!(s, "do_execute_actions" | "do_output")) {
        place.symbol = Some("ovs_vport_send".to_owned());
    }
    place.dev = output.site.dev.as_ref().map(|dev| dev.name.clone()).or(place.dev);
    place
}

fn netns(loss: &Loss) -> String {
    let mut netns = [Some(&loss.at), loss.before.as_ref()].into_iter().flatten();
    words::in_netns(netns.find_map(|s| s.site.netns.as_deref()))
}

fn by_port(loss: &Loss) -> Option<String> {
    let bond = datapath::bond(&loss.passage);
    let bond = bond.map(|bond| format!(" in {}", words::safe(bond))).unwrap_or_default();
    Some(format!("by port {}{bond}", words::safe(datapath::in_port(&loss.passage)?)))
}

/// `; it came in by port ovn-k8s-mp0, after conntrack in zone 5 found it new|trk`.
fn so_far(flow: &Flow, loss: &Loss) -> String {
    let by = by_port(loss).map(|port| format!(" it came in {port}")).unwrap_or_default();
    let after = datapath::after_ct(&loss.passage);
    let after = if by.is_empty() { after.trim_start_matches(',') } else { &after };
    let invalid = datapath::is_invalid(&loss.passage);
    let unfit = invalid.then(|| netfilter::unfit(flow, loss)).flatten();
    let unfit = unfit.map(|why| format!(" ({why})")).unwrap_or_default();
    let translation = sentence::translation(&loss.first, &loss.at);
    let so_far = format!("{by}{after}{unfit}{translation}");
    if so_far.is_empty() { so_far } else { format!(";{so_far}") }
}

/// The first packet of a flow that is dropped ends in `ovs-vswitchd`, and not where the others do.
fn asked(loss: &Loss) -> String {
    match loss.asked {
        n if n == loss.count => String::new(),
        0 => String::new(),
        1 => {
            " The first of them went up to ovs-vswitchd, which answered with that flow.".to_owned()
        }
        n => format!(" {n} of them went up to ovs-vswitchd, which answered with that flow."),
    }
}

/// Why, as a clause: the same for the same cause whatever the kernel tells of it.
fn cause(at: &Sight, loss: &Loss) -> String {
    if loss.owner.as_deref().is_some_and(pipeline::knows_no_port) {
        return "no bridge has a port for it: what comes out of a tunnel needs a tunnel port with its key, its \
                remote and its local address, and there is none"
            .to_owned();
    }
    if loss.ended_asking() {
        return "ovs-vswitchd, which was asked, answered with a datapath flow that says drop, which is \
                what the OpenFlow tables came to"
            .to_owned();
    }
    match at.raw_reason().filter(|r| *r != "NOT_SPECIFIED") {
        Some("OVS_DROP_LAST_ACTION" | "OVS_DROP_EXPLICIT") => by_list(loss),
        Some("OVS_DROP_METER") => METER.to_owned(),
        Some("OVS_DROP_CONNTRACK") => conntrack(loss),
        Some("OVS_DROP_ACTION_ERROR") => action_failed(loss),
        // `do_output`, for a port that is not there or not up.
        Some("DEV_READY") if at.symbol().is_some_and(is_output_code) => PORT_GONE.to_owned(),
        Some("OVS_DROP_RECURSION_LIMIT") => RECURSION.to_owned(),
        Some("OVS_DROP_DEFERRED_LIMIT") => DEFERRED.to_owned(),
        Some(reason) => match matter::of(at, None) {
            (_, Some(meaning)) if reason.starts_with("OVS_") => meaning.to_owned(),
            _ => by_symbol(at, loss),
        },
        None => by_symbol(at, loss),
    }
}

const METER: &str = "a meter found its rate exceeded";
const PORT_GONE: &str = "the port that it was to leave by is gone, or down";
const RECURSION: &str = "it went round through the datapath too often: a loop of ports and bridges";
const DEFERRED: &str = "too many recirculations and clones of one packet were waiting at once";

/// `ovs_ct_execute` failed. What lets it: `ovs_ct_commit`, `ovs_ct_check_limit`, `init_conntrack`.
fn conntrack(loss: &Loss) -> String {
    const REFUSED: &str = "conntrack refused it (the `ct` action failed)";
    let run = datapath::last_run(&loss.passage);
    let Some(list) = run.filter(|run| conntrack_zone(run).is_some()).and_then(datapath::quoted)
    else {
        return REFUSED.to_owned();
    };
    format!("{REFUSED} in {list}")
}

/// The zone of the last `ct` action of a list that begins or confirms a connection; 0 is that of one that
/// names none.
fn conntrack_zone(run: &Ovs) -> Option<u16> {
    let list = run.actions.as_deref()?;
    let ct = top_level(list).filter_map(|action| action.strip_prefix("ct(")).last()?;
    let zone = ct.split([',', ')']).find_map(|part| part.strip_prefix("zone="));
    zone.map_or(Some(0), |zone| zone.parse().ok())
}

/// Where conntrack failed and no other connection explains it: why it may have, and what shows that.
fn room(loss: &Loss) -> Option<(String, Vec<String>)> {
    let reason = loss.at.raw_reason();
    let failed = matches!(loss.at.symbol(), Some("ovs_ct_execute" | "handle_fragments"));
    let zone = datapath::last_run(&loss.passage).and_then(conntrack_zone);
    let zone = zone.filter(|_| failed || reason == Some("OVS_DROP_CONNTRACK"))?;
    let text = format!(
        " Conntrack's table may be full, or zone {zone} at its limit, or the packet fits no connection there."
    );
    let spot = next::Spot::new(&loss.at, loss.before.as_deref());
    let counts = "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max";
    Some((text, vec![format!("ovs-appctl dpctl/ct-get-limits zone={zone}"), spot.run(counts)]))
}

fn by_symbol(at: &Sight, loss: &Loss) -> String {
    let symbol = at.symbol().unwrap_or_default();
    let silent = at.cause.as_ref().and_then(|c| c.drop.as_ref()).is_some_and(|d| d.silent);
    match symbol.split('.').next().unwrap_or_default() {
        _ if silent => by_list(loss),
        "internal_dev_recv" => "the internal port that it was to leave by is down".to_owned(),
        // The compiler makes jumps of the calls that lead there: the symbol may be any of them.
        _ if was_being_sent(loss) => too_big(at, loss),
        "ovs_ct_execute" | "handle_fragments" => conntrack(loss),
        "do_output" => PORT_GONE.to_owned(),
        "ovs_fragment" | "ovs_vport_output" => {
            "it could not be cut into fragments for the port that it was to leave by".to_owned()
        }
        "ovs_execute_actions" => RECURSION.to_owned(),
        "clone_execute" | "execute_recirc" => DEFERRED.to_owned(),
        "ovs_vport_receive" | "ovs_flow_key_extract" => {
            "its headers could not be read (malformed, or no memory)".to_owned()
        }
        "do_execute_actions" => action_failed(loss),
        "" => "the kernel does not say where".to_owned(),
        other => format!("the kernel gives no reason, in {}", words::safe(other)),
    }
}

/// The list that was run came to its end and had sent the packet nowhere.
fn by_list(loss: &Loss) -> String {
    let Some(run) = datapath::last_run(&loss.passage) else {
        return "its actions sent it nowhere".to_owned();
    };
    let actions = run.actions.as_deref().unwrap_or_default();
    if run.empty == Some(true) || actions == "drop" {
        return "the datapath flow that it matched says drop, which is what the OpenFlow tables came to"
            .to_owned();
    }
    // Before Linux 6.6 a meter ends a list without a word.
    if actions.contains("meter(") && sends_somewhere(actions) {
        return METER.to_owned();
    }
    match datapath::quoted(run) {
        Some(list) if actions.starts_with("check_pkt_len(") && actions.contains("gt(drop)") => {
            format!("its actions, {list}, drop what is longer than the size named there")
        }
        Some(list) => format!("its actions, {list}, sent it nowhere"),
        None => "its actions sent it nowhere".to_owned(),
    }
}

/// Where `do_output` gives up, by its own name or, where it was made part of its caller, by that.
fn is_output_code(symbol: &str) -> bool {
    matches!(symbol, "do_output" | "do_execute_actions")
}

/// Whether it was being sent out of a port when it ended.
fn was_being_sent(loss: &Loss) -> bool {
    loss.passage.last().is_some_and(|s| s.hook == HookName::OvsOutput)
}

/// Whether a list has an output to a port, as `ovs-dpctl` prints it: a number or a name that stands
/// alone.
fn sends_somewhere(actions: &str) -> bool {
    top_level(actions).any(is_output)
}

fn is_output(action: &str) -> bool {
    action.bytes().all(|b| b.is_ascii_digit())
}

/// The actions of a list, as text; those inside others stay with them.
fn top_level(actions: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    actions.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn action_failed(loss: &Loss) -> String {
    let run = datapath::last_run(&loss.passage);
    let outputs_alone = |run: &Ovs| {
        !run.cut && run.actions.as_deref().is_some_and(|list| top_level(list).all(is_output))
    };
    if run.is_some_and(outputs_alone) {
        return PORT_GONE.to_owned();
    }
    match run.and_then(datapath::quoted) {
        Some(list) if run.and_then(|run| run.actions.as_deref()).is_some_and(sends_somewhere) => {
            format!("one of its actions, {list}, failed, or a port among them is gone")
        }
        Some(list) => format!("one of its actions, {list}, failed"),
        None => "one of its actions failed".to_owned(),
    }
}

/// `ovs_vport_send` refuses what is longer than the device's MTU, and frames of another kind.
fn too_big(at: &Sight, loss: &Loss) -> String {
    /// `ETH_HLEN`; a tag kept in the frame does not count (`packet_length`).
    const LINK_HEADER: u32 = 14;
    let port = loss.before.as_deref().and_then(|b| b.site.dev.as_deref());
    let (name, mtu) = (port.map(|d| words::safe(&d.name)), port.and_then(|d| d.mtu));
    match (name, mtu) {
        (Some(name), Some(mtu)) if at.len > mtu + LINK_HEADER => format!(
            "its {} bytes are more than the MTU {mtu} of port {name}, which it was to leave by",
            at.len - LINK_HEADER
        ),
        (Some(name), _) => {
            format!("it is too big for port {name}, or no frame of the kind that port takes")
        }
        _ => "it is too big for the port that it was to leave by".to_owned(),
    }
}
