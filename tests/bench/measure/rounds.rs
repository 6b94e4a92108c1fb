//! Contenders measured in turn, round by round.

use std::time::Duration;

use super::Scale;
use super::canary::{Stolen, spin};
use crate::report::{Figures, Rounds};

/// The most of the time that the host may keep to itself in a round.
const MOST_STOLEN: f64 = 0.01;
/// How far the fixed work may be off its median in a round.
const MOST_OFF: f64 = 0.15;

/// One of those that are measured in turn.
pub(crate) struct Contender<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// Measures once. An error is why what was measured does not count, such as packets that were lost.
    pub(crate) measure: Box<dyn FnMut() -> Result<f64, String> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(
        name: &'static str,
        measure: impl FnMut() -> Result<f64, String> + 'a,
    ) -> Self {
        Self {
            name,
            measure: Box::new(measure),
        }
    }
}

/// What one round gave.
struct Round {
    figures: Vec<Result<f64, String>>,
    stolen: f64,
    canary: Duration,
}

/// Measures each contender once a round, in an order that turns from round to round, and leaves out the rounds in which the
/// machine was not itself or a measurement does not count.
pub(crate) fn compare(scale: &Scale, rounds: u32, contenders: &mut [Contender<'_>]) -> Figures {
    let count = contenders.len();
    let mut all = Vec::new();
    for turn in 0..usize::try_from(scale.rounds(rounds)).unwrap_or(usize::MAX) {
        let before = Stolen::now();
        let canary = spin();
        let mut figures: Vec<_> = (0..count).map(|_| Err(String::new())).collect();
        for place in 0..count {
            let who = (turn + place) % count;
            figures[who] = (contenders[who].measure)();
        }
        all.push(Round {
            figures,
            stolen: Stolen::now().share_since(before),
            canary: canary.max(spin()),
        });
    }
    let names = contenders.iter().map(|contender| contender.name);
    sifted(names.collect(), &all, scale.smoke)
}

/// The figures of the rounds that count.
fn sifted(names: Vec<&'static str>, all: &[Round], smoke: bool) -> Figures {
    let mut canaries: Vec<Duration> = all.iter().map(|round| round.canary).collect();
    canaries.sort();
    let usual = canaries
        .get(canaries.len() / 2)
        .map_or(0.0, Duration::as_secs_f64);
    let mut rounds = Rounds::default();
    let mut kept = vec![Vec::new(); names.len()];
    for round in all {
        let off = (round.canary.as_secs_f64() - usual).abs() > usual * MOST_OFF;
        let whole: Result<Vec<f64>, &String> = round
            .figures
            .iter()
            .map(|figure| figure.as_ref().copied())
            .collect();
        match whole {
            Err(why) => {
                rounds.void += 1;
                rounds.why.get_or_insert_with(|| why.clone());
            }
            // Whether a thing works at all does not depend on how quiet the machine is.
            Ok(_) if round.stolen > MOST_STOLEN && !smoke => rounds.stolen += 1,
            Ok(_) if off && !smoke => rounds.unsteady += 1,
            Ok(figures) => {
                rounds.kept += 1;
                for (kept, figure) in kept.iter_mut().zip(figures) {
                    kept.push(figure);
                }
            }
        }
    }
    Figures {
        series: names.into_iter().map(str::to_owned).zip(kept).collect(),
        rounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(figures: &[f64], stolen: f64, canary: u64) -> Round {
        Round {
            figures: figures.iter().map(|figure| Ok(*figure)).collect(),
            stolen,
            canary: Duration::from_micros(canary),
        }
    }

    #[test]
    fn a_round_counts_only_if_nothing_came_between() {
        let mut lost = round(&[9.0, 9.0], 0.0, 100);
        lost.figures[1] = Err("3 packets were lost".to_owned());
        let all = [
            round(&[1.0, 2.0], 0.0, 100),
            round(&[9.0, 9.0], 0.02, 100),
            round(&[9.0, 9.0], 0.0, 116),
            lost,
            round(&[3.0, 4.0], 0.009, 99),
        ];

        let figures = sifted(vec!["a", "b"], &all, false);

        assert_eq!(figures.series[0], ("a".to_owned(), vec![1.0, 3.0]));
        assert_eq!(figures.series[1], ("b".to_owned(), vec![2.0, 4.0]));
        let rounds = &figures.rounds;
        assert_eq!(
            (rounds.kept, rounds.stolen, rounds.unsteady, rounds.void),
            (2, 1, 1, 1)
        );
        assert_eq!(rounds.why.as_deref(), Some("3 packets were lost"));
    }

    #[test]
    fn each_contender_goes_first_in_turn() {
        let order = std::cell::RefCell::new(String::new());
        let note = |name: char| {
            order.borrow_mut().push(name);
            Ok(1.0)
        };
        let mut contenders = [
            Contender::new("a", || note('a')),
            Contender::new("b", || note('b')),
            Contender::new("c", || note('c')),
        ];

        drop(compare(&Scale::new(Some(3), 1, false), 9, &mut contenders));

        drop(contenders);
        assert_eq!(order.into_inner(), "abcbcacab");
    }
}
