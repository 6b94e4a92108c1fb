//! How many frames may be captured: so many in a second, and a few at once.

/// Frames in a second.
pub const RATE: u64 = 10_000;

/// Frames at once: what the ring buffer holds, less what comes while it is read.
pub const BURST: u64 = 1_500;

const SECOND_NS: u64 = 1_000_000_000;

/// A bucket whose level is the number that may have been taken since the start.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    allowed: u64,
    last_ns: u64,
}

impl Allowance {
    /// A full bucket.
    #[must_use]
    pub const fn new(now_ns: u64) -> Self {
        Self {
            allowed: BURST,
            last_ns: now_ns,
        }
    }

    /// How many may have been taken in all from now on, where `taken` have been.
    pub fn at(&mut self, now_ns: u64, taken: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.last_ns);
        let more = u128::from(passed) * u128::from(RATE) / u128::from(SECOND_NS);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        if more != 0 {
            self.last_ns = now_ns;
        }
        let most = taken.saturating_add(BURST);
        self.allowed = self.allowed.saturating_add(more).min(most);
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_allowed_at_once_and_then_the_rate() {
        let mut allowance = Allowance::new(7);

        assert_eq!(allowance.at(7, 0), BURST);
        assert_eq!(allowance.at(7, BURST), BURST);
        assert_eq!(allowance.at(7 + SECOND_NS / 10, BURST), BURST + RATE / 10);
    }

    #[test]
    fn what_is_not_taken_does_not_pile_up() {
        let mut allowance = Allowance::new(0);

        assert_eq!(allowance.at(3_600 * SECOND_NS, 5), BURST + 5);
    }

    proptest! {
        #[test]
        fn no_more_is_taken_in_any_time_than_the_burst_and_the_rate(
            steps in prop::collection::vec((0_u64..SECOND_NS / 2, 0_u64..20_000), 1..60)
        ) {
            let (mut now, mut taken) = (0, 0);
            let mut allowance = Allowance::new(now);
            for (pause, offered) in steps {
                now += pause;
                let allowed = allowance.at(now, taken);
                taken = (taken + offered).min(allowed.max(taken));
                let most = BURST + now / 1_000 * RATE / (SECOND_NS / 1_000) + 1;
                prop_assert!(taken <= most, "{taken} of {most}");
            }
        }
    }
}
