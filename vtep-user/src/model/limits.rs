//! Limits and times as they are typed. A number that makes no sense is refused with a sentence of its own.

use super::{BadValue, Value as _};

/// Refuses what is neither a number nor `none`.
pub(super) fn check_max_macs(text: &str) -> Result<(), BadValue> {
    if text == "none" || text.parse::<i64>().is_ok() {
        Ok(())
    } else {
        Err(BadValue::new(format!(
            "`{text}` is neither a number of MACs nor `none`"
        )))
    }
}

/// A limit of MACs as the API has it, which says 0 for none.
pub(super) fn max_macs(text: &str) -> Result<u32, BadValue> {
    check_max_macs(text)?;
    if text == "none" {
        return Ok(0);
    }
    let count: i64 = text.parse().expect("it was checked");
    let limit = u32::try_from(count).ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| {
        BadValue::new(format!(
            "--max-macs {count} is not a limit; give a number from 1 to {}, or remove the limit with: --max-macs none",
            u32::MAX
        ))
    })
}

/// What to type for a limit.
pub(super) fn max_macs_text(limit: Option<u32>) -> Vec<String> {
    let text = |limit| match limit {
        0 => "none".into(),
        limit => limit.to_string(),
    };
    limit.into_iter().map(text).collect()
}

/// Refuses what is no number.
pub(super) fn check_ageing(text: &str) -> Result<(), BadValue> {
    let number = text.parse::<i64>().map(drop);
    number.map_err(|error| BadValue::new(error.to_string()))
}

/// An ageing time, in seconds.
pub(super) fn ageing(text: &str) -> Result<u32, BadValue> {
    check_ageing(text)?;
    let seconds: i64 = text.parse().expect("it was checked");
    u32::try_from(seconds).map_err(|_| {
        BadValue::new(format!(
            "--ageing {seconds} is not an ageing time; give seconds from 1 to {}, or keep MACs forever with: --ageing 0",
            u32::MAX
        ))
    })
}

/// Refuses what is no number of 32 bits.
pub(super) fn check_number(text: &str) -> Result<(), BadValue> {
    u32::read(text).map(drop)
}

/// The size of an FDB.
pub(super) fn fdb_max(text: &str) -> Result<u32, BadValue> {
    positive(
        text,
        "an FDB of 0 entries holds nothing; give --fdb-max 1 or more, or leave it out",
    )
}

/// A time within which moves count, in seconds.
pub(super) fn dup_window(text: &str) -> Result<u32, BadValue> {
    positive(
        text,
        "no MAC moves within 0 seconds; give --dup-window 1 or more, or freeze no MAC with: --dup-moves 0",
    )
}

/// A time between two looks, in seconds.
pub(super) fn interval(text: &str) -> Result<u32, BadValue> {
    positive(
        text,
        "nothing is counted within 0 seconds; give --interval 1 or more",
    )
}

/// A number that is not 0; `sentence` refuses that.
fn positive(text: &str, sentence: &str) -> Result<u32, BadValue> {
    match u32::read(text)? {
        0 => Err(BadValue::new(sentence)),
        number => Ok(number),
    }
}
