//! How fast MACs are learned: packets from so many of them arrive, and until the FDB has them all.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    lab::{Lab, Side},
    shell::{Result, said, uninterrupted},
};

/// MACs that are offered.
const MACS: u32 = 200_000;
/// MACs a second that the FDB is to take.
const GOAL: f64 = 200_000.0;
/// After how long what is missing is offered once more.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often all are offered, at most.
const OFFERS: u32 = 5;

/// Has the VTEP on one side learn, and prints how fast it did.
pub(crate) fn measure(lab: &Lab) -> Result<()> {
    lab.set_vni(Side::A, "--learning on")?;
    let before = learned(lab)?;
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
                let rate = f64::from(MACS) / took;
                let offered = f64::from(MACS) / sending.as_secs_f64();
                let verdict = if rate >= GOAL { "" } else { " UNDER THE GOAL" };
                println!(
                    "  learning: {MACS} MACs from a VTEP, offered {offer} times at {offered:.0}/s, in the FDB at {rate:.0}/s{verdict}"
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
    fn the_row_of_what_was_learned_is_found() {
        let rows = r#"[{"hook":"port","reason":"flooded","vni":null,"dev":null,"peer":null,"packets":3,"bytes":1},{"hook":"learning","reason":"learned","vni":null,"dev":null,"peer":null,"packets":1200,"bytes":0}]"#;
        assert_eq!(count(rows), Some(1200));
        assert_eq!(count("[]"), None);
    }
}
