//! The middle and the ends of some figures, and how sure the middle is.

use serde::{Deserialize, Serialize};

/// Resamplings of [`Spread::of`].
const RESAMPLES: usize = 2_000;

/// The middle and the ends of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The least of them.
    pub(crate) least: f64,
    /// Below it lie 2.5 % of the medians that resampling gives (bootstrap).
    pub(crate) low: f64,
    /// The median.
    pub(crate) median: f64,
    /// Above it lie 2.5 % of those medians.
    pub(crate) high: f64,
    /// The greatest.
    pub(crate) most: f64,
}

impl Spread {
    /// There is no spread of none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut medians = resampled(&sorted);
        medians.sort_by(f64::total_cmp);
        let at = |share: usize| medians.get(medians.len() * share / 1_000).copied();
        Some(Self {
            least: *sorted.first()?,
            low: at(25)?,
            median: median(&sorted)?,
            high: at(975)?,
            most: *sorted.last()?,
        })
    }
}

/// The median of sorted figures.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        let below = sorted.get(middle.checked_sub(1)?)?;
        Some(f64::midpoint(*below, *sorted.get(middle)?))
    } else {
        sorted.get(middle).copied()
    }
}

/// Medians of as many figures drawn from these, with replacement. Which are drawn is the same each time.
fn resampled(figures: &[f64]) -> Vec<f64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let below = u64::try_from(figures.len()).unwrap_or(u64::MAX);
        usize::try_from(state % below).unwrap_or(0)
    };
    let mut medians = Vec::with_capacity(RESAMPLES);
    if figures.is_empty() {
        return medians;
    }
    for _ in 0..RESAMPLES {
        let mut sample: Vec<f64> = figures.iter().map(|_| figures[draw()]).collect();
        sample.sort_by(f64::total_cmp);
        medians.extend(median(&sample));
    }
    medians
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_middle_two() {
        assert_eq!(Spread::of(&[]), None);
        let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.least, odd.median, odd.most), (1.0, 2.0, 3.0));
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.least, even.median, even.most), (1.0, 2.5, 4.0));
    }

    #[test]
    fn the_bounds_lie_about_the_median_and_within_the_ends() {
        let figures: Vec<f64> = (0..25_u32).map(f64::from).collect();

        let spread = Spread::of(&figures).unwrap();

        assert!(spread.least < spread.low && spread.low < spread.median);
        assert!(spread.median < spread.high && spread.high < spread.most);
        let same = Spread::of(&[7.0; 9]).unwrap();
        assert_eq!((same.low, same.high), (7.0, 7.0));
    }
}
