//! Contenders measured in turn, round by round.

use std::time::Duration;

use vtep_tests::interrupt::stop_if_interrupted;

use super::Scale;
use super::canary::{Stolen, spin};
use crate::report::{Figures, Rounds};

/// The most of the time that the host may keep to itself in a round.
const MOST_STOLEN: f64 = 0.01;
/// Rounds until one is whole, where it is only to see that everything works: a busy machine may not keep a rate.
const SMOKE_TRIES: usize = 6;
/// How far the fixed work may be off its median in a round.
const MOST_OFF: f64 = 0.15;

/// One of those that are measured in turn, which gives a figure each time, or several.
pub(crate) struct Contender<'a, T = f64> {
    /// Its name.
    pub(crate) name: &'static str,
    /// Measures once. An error is why what was measured does not count, such as packets that were lost.
    pub(crate) measure: Box<dyn FnMut() -> Result<T, String> + 'a>,
}

impl<'a, T> Contender<'a, T> {
    pub(crate) fn new(name: &'static str, measure: impl FnMut() -> Result<T, String> + 'a) -> Self {
        Self {
            name,
            measure: Box::new(measure),
        }
    }
}

/// What one round gave.
struct Round<T> {
    figures: Vec<Result<T, String>>,
    stolen: f64,
    canary: Duration,
}

/// Measures each contender once a round, in an order that turns from round to round, and leaves out the rounds in which the
/// machine was not itself or a measurement does not count.
pub(crate) fn compare(scale: &Scale, rounds: u32, contenders: &mut [Contender<'_>]) -> Figures {
    let (series, rounds) = in_turn(scale, rounds, contenders);
    Figures { series, rounds }
}

/// The same where one measurement gives several figures: those of each sort by themselves.
pub(crate) fn compare_each<const N: usize>(
    scale: &Scale,
    rounds: u32,
    contenders: &mut [Contender<'_, [f64; N]>],
) -> [Figures; N] {
    let (series, rounds) = in_turn(scale, rounds, contenders);
    std::array::from_fn(|sort| Figures {
        series: series
            .iter()
            .map(|(name, all)| (name.clone(), all.iter().map(|each| each[sort]).collect()))
            .collect(),
        rounds: rounds.clone(),
    })
}

/// Each contender with what it gave in the rounds that count, and how many rounds those are.
type Sifted<T> = (Vec<(String, Vec<T>)>, Rounds);

fn in_turn<T: Clone>(scale: &Scale, rounds: u32, contenders: &mut [Contender<'_, T>]) -> Sifted<T> {
    let count = contenders.len();
    let mut all = Vec::new();
    let turns = if scale.smoke {
        SMOKE_TRIES
    } else {
        usize::try_from(scale.rounds(rounds)).unwrap_or(usize::MAX)
    };
    for turn in 0..turns {
        let before = Stolen::now();
        let canary = spin();
        let mut figures: Vec<_> = (0..count).map(|_| Err(String::new())).collect();
        for place in 0..count {
            let who = (turn + place) % count;
            stop_if_interrupted();
            figures[who] = (contenders[who].measure)();
        }
        let whole = figures.iter().all(Result::is_ok);
        all.push(Round {
            figures,
            stolen: Stolen::now().share_since(before),
            canary: canary.max(spin()),
        });
        if scale.smoke && whole {
            break;
        }
    }
    let names = contenders.iter().map(|contender| contender.name);
    sifted(names.collect(), &all, scale.smoke)
}

/// The figures of the rounds that count.
fn sifted<T: Clone>(names: Vec<&'static str>, all: &[Round<T>], smoke: bool) -> Sifted<T> {
    let mut canaries: Vec<Duration> = all.iter().map(|round| round.canary).collect();
    canaries.sort();
    let usual = canaries
        .get(canaries.len() / 2)
        .map_or(0.0, Duration::as_secs_f64);
    let mut rounds = Rounds::default();
    let mut kept = vec![Vec::new(); names.len()];
    for round in all {
        let off = (round.canary.as_secs_f64() - usual).abs() > usual * MOST_OFF;
        let whole: Result<Vec<&T>, &String> = round.figures.iter().map(Result::as_ref).collect();
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
                    kept.push(figure.clone());
                }
            }
        }
    }
    let series = names.into_iter().map(str::to_owned).zip(kept).collect();
    (series, rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(figures: &[f64], stolen: f64, canary: u64) -> Round<f64> {
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

        let (series, rounds) = sifted(vec!["a", "b"], &all, false);

        assert_eq!(series[0], ("a".to_owned(), vec![1.0, 3.0]));
        assert_eq!(series[1], ("b".to_owned(), vec![2.0, 4.0]));
        assert_eq!(
            (rounds.kept, rounds.stolen, rounds.unsteady, rounds.void),
            (2, 1, 1, 1)
        );
        assert_eq!(rounds.why.as_deref(), Some("3 packets were lost"));
    }

    #[test]
    fn several_figures_of_one_measurement_are_parted_by_sort() {
        let mut contenders = [
            Contender::new("a", || Ok([1.0, 2.0])),
            Contender::new("b", || Ok([3.0, 4.0])),
        ];

        let [first, second] = compare_each(&Scale::new(Some(2), 1, true), 9, &mut contenders);

        assert_eq!((first.of("a"), first.of("b")), (&[1.0][..], &[3.0][..]));
        assert_eq!((second.of("a"), second.of("b")), (&[2.0][..], &[4.0][..]));
        assert_eq!((first.rounds.kept, second.rounds.kept), (1, 1));
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
