//! How fast MACs are learned: packets from so many of them arrive, until the FDB has them all.
//!
//! One sender does not keep the daemon busy. So beside the rate at which the MACs got into the FDB stands the one that the
//! daemon's own processor time amounts to: what it would do if it were.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    lab::{Lab, Side},
    shell::{Result, doing, said, uninterrupted},
};

/// MACs that are offered.
const MACS: u32 = 200_000;
/// MACs that the daemon is to put into the FDB in a second of processor time.
const GOAL: f64 = 200_000.0;
/// Parts of a second in which `/proc/PID/stat` counts (`USER_HZ`, fixed on Linux).
const TICKS: f64 = 100.0;
/// After how long what is missing is offered once more.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often all are offered, at most.
const OFFERS: u32 = 5;

/// Has the VTEP on one side learn, and prints how fast it did.
pub(crate) fn measure(lab: &Lab) -> Result<()> {
    lab.set_vni(Side::A, "--learning on")?;
    let before = learned(lab)?;
    let busy = processor_time(lab)?;
    let start = Instant::now();
    let mut sending = Duration::ZERO;
    for offer in 1..=OFFERS {
        let took = lab.offer_macs(Side::B, MACS)?;
        if offer == 1 {
            sending = took;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            uninterrupted()?;
            if learned(lab)? - before >= u64::from(MACS) {
                let took = start.elapsed().as_secs_f64();
                let offered = f64::from(MACS) / sending.as_secs_f64();
                let rate = f64::from(MACS) / took;
                let able = f64::from(MACS) / (processor_time(lab)? - busy);
                let verdict = if able >= GOAL { "" } else { " UNDER THE GOAL" };
                println!(
                    "  learning: {MACS} MACs from a VTEP, offered {offer} times at {offered:.0}/s, in the FDB at {rate:.0}/s; \
                     {able:.0} in a second of the daemon's processor time{verdict}"
                );
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    said(format!(
        "of {MACS} MACs, the FDB has {} after {OFFERS} offers",
        learned(lab)? - before
    ))
}

/// Seconds for which the daemon has been running on a processor.
fn processor_time(lab: &Lab) -> Result<f64> {
    let Some(process) = lab.daemons().next() else {
        return said("no daemon runs");
    };
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(doing("read the daemon's times"))?;
    match ticks(&stat) {
        Some(ticks) => Ok(f64::from(ticks) / TICKS),
        None => said("the daemon's times cannot be read"),
    }
}

/// User and system time out of `/proc/PID/stat`: its fields 14 and 15.
fn ticks(stat: &str) -> Option<u32> {
    // The second field, the name in parentheses, may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

/// How many MACs a daemon has learned since it started.
fn learned(lab: &Lab) -> Result<u64> {
    Ok(count(&lab.ask(Side::A, "stats -j")?).unwrap_or(0))
}

/// The packets of the row for what was learned; there is none while that is nothing.
fn count(rows: &str) -> Option<u64> {
    let (_, row) = rows.split_once(r#""hook":"learning","reason":"learned","#)?;
    let (_, number) = row.split_once(r#""packets":"#)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_from_the_status() {
        let stat = "7 (v t) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 3 0 1 1 1";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (vtep"), None);
    }

    #[test]
    fn the_row_of_what_was_learned_is_found() {
        let rows = r#"[{"hook":"port","reason":"flooded","vni":null,"dev":null,"peer":null,"packets":3,"bytes":1},{"hook":"learning","reason":"learned","vni":null,"dev":null,"peer":null,"packets":1200,"bytes":0}]"#;
        assert_eq!(count(rows), Some(1200));
        assert_eq!(count("[]"), None);
    }
}
