//! `vtep status`, as people read it.

use std::fmt::Display;

use super::output::Output;
use crate::model::{ConfigStatus, LimitStatus, Status, UplinkState, UplinkStatus, printable};

/// How wide the names stand.
const NAMES: usize = 20;

/// Everything about the daemon, one thing a line.
pub(super) fn text(status: &Status, output: Output) -> String {
    let Status {
        instance,
        version,
        pid,
        udp_port,
        device,
        config,
        locals,
        uplinks,
        waits_for,
        repairs,
        left_alone,
        vnis: _,
        ports: _,
        peers: _,
        fdb: _,
        fdb_max: _,
        limits,
    } = status;
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn Display| {
        let (name, value) = (format!("{name:<NAMES$}"), value.to_string());
        text += &output.folded(&name, value.split(' '), NAMES + 1);
    };
    line("instance", instance);
    line("version", version);
    line("pid", pid);
    if let Some(config) = config {
        line("config", &of_config(config));
    }
    for uplink in uplinks {
        line("uplink", &of_uplink(uplink));
    }
    for local in locals {
        line("local", local);
    }
    for what in waits_for {
        line("waits for", &printable(what));
    }
    if *repairs > 0 {
        line("repairs", repairs);
    }
    for what in left_alone {
        line("left alone", &printable(what));
    }
    line("udp_port", udp_port);
    let device = device.as_deref().unwrap_or("none");
    line("slow-path device", &printable(device));
    for limit in limits {
        line(&limit.limit, &of_limit(limit));
    }
    text
}

fn of_config(config: &ConfigStatus) -> String {
    let ConfigStatus {
        file,
        in_step,
        error,
    } = config;
    match (error, in_step) {
        (Some(error), _) => format!("{file}, which cannot be had: {error}"),
        (None, true) => format!("{file}, in step"),
        (None, false) => {
            format!("{file}, not in step; see what differs with: vtep apply --dry-run")
        }
    }
}

fn of_uplink(uplink: &UplinkStatus) -> String {
    let UplinkStatus {
        dev,
        state,
        hook,
        why,
    } = uplink;
    let dev = printable(dev);
    let how = match state {
        UplinkState::Up => hook.clone(),
        UplinkState::Down => format!("down, {hook}"),
        UplinkState::Absent => "absent".to_owned(),
    };
    match why {
        Some(why) => format!("{dev}: {how}, because {why}"),
        None => format!("{dev}: {how}"),
    }
}

fn of_limit(limit: &LimitStatus) -> String {
    match limit.used {
        Some(used) => format!("{used} of {}", limit.max),
        None => format!("{} at most", limit.max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_line_for_each_thing() {
        let status = Status {
            instance: "blue".into(),
            version: "0.1.0".into(),
            pid: 7,
            udp_port: 4789,
            device: Some("vtep4789".into()),
            config: Some(ConfigStatus {
                file: "/etc/vtep/blue.conf".into(),
                in_step: true,
                error: None,
            }),
            locals: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            uplinks: vec![
                UplinkStatus {
                    dev: "eth0".into(),
                    state: UplinkState::Up,
                    hook: "xdp native".into(),
                    why: None,
                },
                UplinkStatus {
                    dev: "eth1".into(),
                    state: UplinkState::Down,
                    hook: "tc".into(),
                    why: Some("it was requested".into()),
                },
                UplinkStatus {
                    dev: "eth2".into(),
                    state: UplinkState::Absent,
                    hook: "none".into(),
                    why: None,
                },
            ],
            waits_for: vec!["uplink eth2, which does not exist".into()],
            repairs: 3,
            left_alone: vec!["the MTU of vtep4789, which somebody changes".into()],
            vnis: 1,
            ports: 2,
            peers: 3,
            fdb: 4,
            fdb_max: 5,
            limits: vec![
                LimitStatus {
                    limit: "vnis".into(),
                    used: Some(1),
                    max: 16_384,
                },
                LimitStatus {
                    limit: "hosts_of_mac".into(),
                    used: None,
                    max: 256,
                },
            ],
        };

        assert_eq!(
            text(&status, Output::Plain),
            "instance             blue\n\
             version              0.1.0\n\
             pid                  7\n\
             config               /etc/vtep/blue.conf, in step\n\
             uplink               eth0: xdp native\n\
             uplink               eth1: down, tc, because it was requested\n\
             uplink               eth2: absent\n\
             local                192.0.2.1\n\
             local                2001:db8::1\n\
             waits for            uplink eth2, which does not exist\n\
             repairs              3\n\
             left alone           the MTU of vtep4789, which somebody changes\n\
             udp_port             4789\n\
             slow-path device     vtep4789\n\
             vnis                 1 of 16384\n\
             hosts_of_mac         256 at most\n"
        );
    }
}
