//! It went up to `ovs-vswitchd`, or was to, and did not come back.

use std::rc::Rc;

use crate::reconstruct::flow::{Flow, Loss};
use crate::reconstruct::sight::Sight;
use crate::record::{HookName, Outcome, Ovs, Upcall};
use crate::verdict::rules::{others, sentence};
use crate::verdict::{Finding, datapath, matter, next, pipeline, words};

/// A packet of the flow was handed to `ovs-vswitchd`, which did not hand it back; or it could not be
/// handed over.
pub fn upcall_lost(flow: &Flow) -> Option<Finding> {
    // Those that could not be handed over say why nobody answers the others.
    let refused = |l: &&Loss| l.at.upcall().is_some_and(|upcall| upcall.result.is_some());
    let all = || flow.losses.iter().filter(|l| l.outcome == Outcome::UpcallLost);
    let loss = all()
        .filter(refused)
        .max_by_key(|l| l.count)
        .or_else(|| sentence::worst(flow, Outcome::UpcallLost))?;
    let (at, before) = (&*loss.at, loss.before.as_deref());
    let upcall = at.upcall().cloned().unwrap_or_default();
    let by = datapath::in_port(&loss.passage)
        .map(|port| format!(" (it entered by port {})", words::safe(port)))
        .unwrap_or_default();
    let text = format!(
        "{} lost between Open vSwitch's datapath{} and ovs-vswitchd{by}{}{}: {}.{}{}",
        sentence::subject(flow, loss),
        words::in_netns(at.site.netns.as_deref()),
        datapath::after_ct(&loss.passage),
        sentence::translation(&loss.first, at),
        cause(&upcall, &loss.passage),
        loss.owner
            .as_deref()
            .map(|o| pipeline::sender(o) + &pipeline::besides(o))
            .unwrap_or_default(),
        others::rest(flow, loss),
    );
    let mut commands = vec![
        "ovs-appctl dpctl/show -s".to_owned(),
        "ovs-appctl upcall/show".to_owned(),
        "ovs-appctl coverage/show".to_owned(),
    ];
    if upcall.result.is_none() {
        commands = loss.owner.as_deref().map(pipeline::commands).unwrap_or_default();
        if datapath::last_run(&loss.passage).and_then(controller).is_some() {
            commands.push("ovs-vsctl list controller".to_owned());
        }
        commands.push("ps -o pid,stat,etime,args -C ovs-vswitchd".to_owned());
        commands.extend(next::commands(matter::Matter::Ovs, &next::Spot::new(at, before)));
    }
    Some(Finding {
        outcome: loss.outcome,
        due: None,
        place: at.place(),
        reason: upcall.result,
        text,
        next: commands,
        evidence: loss.evidence.clone(),
        rule: loss.owner.as_deref().cloned().map(Box::new),
    })
}

/// What a list tells of a packet that it hands to an `OpenFlow` controller.
struct Controller<'a> {
    reason: &'a str,
    /// Of the rule that does.
    cookie: Option<&'a str>,
}

/// From `userspace(pid=…,controller(reason=1,…,rule_cookie=0x15,…))`.
fn controller(run: &Ovs) -> Option<Controller<'_>> {
    let (_, told) = run.actions.as_deref()?.split_once("controller(")?;
    let told = told.split(')').next()?;
    let value = |name: &str| told.split(',').find_map(|pair| pair.strip_prefix(name));
    let cookie = value("rule_cookie=").filter(|cookie| !matches!(*cookie, "0" | "0x0"));
    Some(Controller { reason: value("reason=")?, cookie })
}

impl Controller<'_> {
    /// `enum ofp_packet_in_reason` of Open vSwitch's `openflow/openflow-common.h`.
    fn ending(&self) -> String {
        let rule = |what: &str| match self.cookie {
            Some(cookie) => format!("{what} with cookie {}", words::safe(cookie)),
            None => what.to_owned(),
        };
        let to_controller = "an OpenFlow controller, and nowhere else: nothing came back, as where there is no \
                             controller, or where it answers by itself";
        match self.reason {
            "0" | "6" | "7" => {
                format!(
                    "no rule of the OpenFlow tables matched it, so that it went to {to_controller}"
                )
            }
            "2" => format!(
                "its TTL was used up at a `dec_ttl` of {}, which ends it: the controller is told, and \
                 nothing goes on",
                rule("the rule")
            ),
            _ => format!("{} hands it to {to_controller}", rule("an OpenFlow rule")),
        }
    }
}

/// Why, as a clause. What `ovs_dp_upcall` returns: `net/openvswitch/datapath.c`.
fn cause(upcall: &Upcall, passage: &[Rc<Sight>]) -> String {
    let run = datapath::last_run(passage);
    let is_answered = passage.last().is_some_and(|s| s.hook == HookName::OvsAnswer);
    let by_action = upcall.cmd.as_deref() == Some("action");
    let why_up = match (upcall.cmd.as_deref(), run.and_then(datapath::quoted)) {
        (Some("miss"), _) => "no flow of the datapath matched it".to_owned(),
        (Some("action"), Some(_)) if run.and_then(controller).is_some() => {
            "an action sent it up".to_owned()
        }
        (Some("action"), Some(list)) => format!("the actions {list} sent it up"),
        (Some("action"), None) => "an action sent it up".to_owned(),
        _ => "it was sent up".to_owned(),
    };
    let outcome = match upcall.result.as_deref() {
        None if by_action => match run.and_then(controller) {
            Some(controller) => controller.ending(),
            None => "it was handed over, and nothing came back: ovs-vswitchd let it end there, or did \
                     not answer"
                .to_owned(),
        },
        None if is_answered => {
            "it was handed over, and ovs-vswitchd installed a flow for it, but did not hand it back"
                .to_owned()
        }
        None => {
            "it was handed over, and nothing came back: the OpenFlow tables drop it (what is dropped \
             does not come back), or ovs-vswitchd did not answer"
                .to_owned()
        }
        Some("EAGAIN") => {
            "the queue to ovs-vswitchd's handlers was full: they are too slow for the new flows that \
             come [EAGAIN]"
                .to_owned()
        }
        Some(error @ ("ENOTCONN" | "ECONNREFUSED")) => format!(
            "no handler of ovs-vswitchd listens: it does not run, or was only just started [{error}]"
        ),
        Some(error) => format!("the kernel could not hand it over [{}]", words::safe(error)),
    };
    format!("{why_up}, and {outcome}")
}
