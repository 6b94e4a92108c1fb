//! Numbers as people read them: three digits and a letter for the thousands.

/// The letters, each for a thousand times as much as the one before.
const LETTERS: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// A rate in at most six characters: `0`, `9.5`, `153`, `1.50k`, `12.3M`.
pub(super) fn short(number: f64) -> String {
    let mut number = number;
    let mut letters = LETTERS.iter();
    let mut letter = letters.next().copied().unwrap_or_default();
    // What would be rounded to 1000 has the next letter.
    while number >= 999.5 {
        let Some(next) = letters.next() else { break };
        letter = next;
        number /= 1000.0;
    }
    if number < 0.05 {
        return "0".to_owned();
    }
    let digits = match number {
        _ if letter.is_empty() && number >= 9.95 => 0,
        _ if letter.is_empty() => 1,
        _ if number < 9.995 => 2,
        _ if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_and_a_letter() {
        for (number, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.5, "0.5"),
            (9.94, "9.9"),
            (9.96, "10"),
            (153.4, "153"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (1_500.0, "1.50k"),
            (12_345.0, "12.3k"),
            (99_960.0, "100k"),
            (999_600.0, "1.00M"),
            (9_876_543_210.0, "9.88G"),
            (1.0e18, "1000P"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }
}
