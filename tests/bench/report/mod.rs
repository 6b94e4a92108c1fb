//! What was found: on the terminal, as JSON, as a page, and as Markdown.

mod html;
mod machine;
mod markdown;
mod table;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::machine::MeasuredOn;
use crate::measure::Spread;

/// Rounds of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// That count.
    pub(crate) kept: u32,
    /// Left out because the host took processor time away.
    pub(crate) stolen: u32,
    /// Left out because fixed work took longer or shorter than in the others.
    pub(crate) unsteady: u32,
    /// Left out because a measurement was not whole.
    pub(crate) void: u32,
    /// Why the first of those was not.
    pub(crate) why: Option<String>,
}

/// What contenders gave, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Each contender with a figure for each round that counts.
    pub(crate) series: Vec<(String, Vec<f64>)>,
    /// How many rounds those are.
    pub(crate) rounds: Rounds,
}

impl Figures {
    /// The figures of one contender.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub(crate) fn of(&self, name: &str) -> &[f64] {
        let found = self.series.iter().find(|(contender, _)| contender == name);
        &found.expect("a contender").1
    }

    /// Adds a contender whose figures follow, round by round, from those of others.
    pub(crate) fn derive<const N: usize>(
        &mut self,
        name: &str,
        from: [&str; N],
        of: impl Fn([f64; N]) -> f64,
    ) {
        let columns = from.map(|name| self.of(name).to_vec());
        let derived = (0..columns.first().map_or(0, Vec::len))
            .map(|round| of(std::array::from_fn(|column| columns[column][round])))
            .collect();
        self.series.push((name.to_owned(), derived));
    }

    /// Renames nothing and keeps only these contenders, in this order.
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        Self {
            series: names
                .iter()
                .map(|name| ((*name).to_owned(), self.of(name).to_vec()))
                .collect(),
            rounds: self.rounds.clone(),
        }
    }
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// The ratio to the rival, or the figure where there is none, is at least this.
    AtLeast(f64),
    /// It is at most this.
    AtMost(f64),
}

/// How a goal and what was found go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GoalState {
    /// Reached by the bound on the wrong side of the median too.
    Reached,
    /// Reached by the median only.
    ReachedByMedian,
    /// Not reached.
    Missed,
    /// No round counts.
    Unknown,
}

impl Goal {
    fn verdict(self, found: Option<&Spread>) -> GoalState {
        let Some(found) = found else {
            return GoalState::Unknown;
        };
        let (sure, likely) = match self {
            Self::AtLeast(goal) => (found.low >= goal, found.median >= goal),
            Self::AtMost(goal) => (found.high <= goal, found.median <= goal),
        };
        match (sure, likely) {
            (true, true) => GoalState::Reached,
            (_, true) => GoalState::ReachedByMedian,
            _ => GoalState::Missed,
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReportRow {
    /// The case it belongs to.
    pub(crate) case: String,
    /// What was measured.
    pub(crate) what: String,
    /// The unit of the figures.
    pub(crate) unit: String,
    /// Each contender's figures, a round each.
    pub(crate) series: Vec<(String, Vec<f64>)>,
    /// Whom the ratio is of, and to whom.
    pub(crate) pair: Option<(String, String)>,
    /// The spread of the ratios, taken round by round, or of the one contender's figures.
    pub(crate) spread: Option<Spread>,
    /// What it is to be.
    pub(crate) goal: Option<Goal>,
    /// Whether it is.
    pub(crate) verdict: Option<GoalState>,
    /// The rounds.
    pub(crate) rounds: Rounds,
    /// What else is to be known.
    pub(crate) note: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The shape of this file.
    pub(crate) version: u32,
    /// Where it was found.
    pub(crate) machine: MeasuredOn,
    /// Whether it was only to see that everything works.
    pub(crate) smoke: bool,
    /// What each case that ran measures.
    pub(crate) cases: Vec<(String, String)>,
    /// What was found.
    pub(crate) rows: Vec<ReportRow>,
}

impl Report {
    /// An empty one.
    pub(crate) fn start(smoke: bool) -> Self {
        Self {
            version: 1,
            machine: MeasuredOn::this(),
            smoke,
            cases: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// From here on rows belong to this case.
    pub(crate) fn begin(&mut self, name: &str, about: &str) {
        println!("\n{name}: {about}");
        self.cases.push((name.to_owned(), about.to_owned()));
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        self.machine.finish();
    }

    /// Adds the ratio of the first contender to the second.
    pub(crate) fn ratio(&mut self, what: &str, unit: &str, figures: &Figures, goal: Option<Goal>) {
        let [(of, ours), (to, theirs), ..] = figures.series.as_slice() else {
            panic!("{what}: a ratio takes two contenders");
        };
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(our, their)| our / their)
            .collect();
        let pair = Some((of.clone(), to.clone()));
        self.add(what, unit, figures, pair, &ratios, goal);
    }

    /// Adds the figures of the first contender as they are.
    pub(crate) fn figure(&mut self, what: &str, unit: &str, figures: &Figures, goal: Option<Goal>) {
        let (_, own) = figures.series.first().expect("a contender");
        self.add(what, unit, figures, None, own, goal);
    }

    /// Adds one measurement that is not repeated.
    pub(crate) fn single(&mut self, what: &str, unit: &str, value: f64, goal: Option<Goal>) {
        let figures = Figures {
            series: vec![("vtep".to_owned(), vec![value])],
            rounds: Rounds {
                kept: 1,
                ..Rounds::default()
            },
        };
        self.figure(what, unit, &figures, goal);
    }

    /// Says more of the row that was added last, beside what was said of it before.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("      {note}");
        if let Some(row) = self.rows.last_mut() {
            row.note = Some(match row.note.take() {
                Some(before) => format!("{before}; {note}"),
                None => note,
            });
        }
    }

    fn add(
        &mut self,
        what: &str,
        unit: &str,
        figures: &Figures,
        pair: Option<(String, String)>,
        spread_of: &[f64],
        goal: Option<Goal>,
    ) {
        let spread = Spread::of(spread_of);
        let (case, _) = self.cases.last().expect("a case has begun");
        let row = ReportRow {
            case: case.clone(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            series: figures.series.clone(),
            pair,
            verdict: goal.map(|goal| goal.verdict(spread.as_ref())),
            spread,
            goal,
            rounds: figures.rounds.clone(),
            note: None,
        };
        println!("  {}", table::line(&row));
        self.rows.push(row);
    }

    /// Prints the goals and what was reached, once more and together.
    pub(crate) fn print(&self) {
        print!("{}", table::goals(self));
    }

    /// Fails if a comparison has no round that counts.
    pub(crate) fn complete(&self) -> Result<(), String> {
        let empty: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.spread.is_none())
            .map(|row| {
                let why = row
                    .rounds
                    .why
                    .as_deref()
                    .unwrap_or("the machine was not itself");
                format!("{}, {}: {why}", row.case, row.what)
            })
            .collect();
        if empty.is_empty() {
            Ok(())
        } else {
            Err(format!("no round counts of:\n{}", empty.join("\n")))
        }
    }

    /// Reads what [`Report::write_json`] wrote.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Writes everything.
    pub(crate) fn write_json(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        write(file, &text)
    }

    /// Writes a page for the browser.
    pub(crate) fn write_html(&self, file: &Path) -> Result<(), String> {
        write(file, &html::page(self))
    }

    /// Writes the tables that `docs/results/` keeps.
    pub(crate) fn write_markdown(&self, file: &Path) -> Result<(), String> {
        write(file, &markdown::tables(self))
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    file.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_only_by_the_bound_on_its_wrong_side() {
        let found = Spread {
            least: 1.0,
            low: 1.1,
            median: 1.2,
            high: 1.3,
            most: 1.4,
        };

        assert_eq!(Goal::AtLeast(1.1).verdict(Some(&found)), GoalState::Reached);
        assert_eq!(
            Goal::AtLeast(1.15).verdict(Some(&found)),
            GoalState::ReachedByMedian
        );
        assert_eq!(Goal::AtLeast(1.25).verdict(Some(&found)), GoalState::Missed);
        assert_eq!(Goal::AtMost(1.3).verdict(Some(&found)), GoalState::Reached);
        assert_eq!(
            Goal::AtMost(1.25).verdict(Some(&found)),
            GoalState::ReachedByMedian
        );
        assert_eq!(Goal::AtMost(1.15).verdict(Some(&found)), GoalState::Missed);
        assert_eq!(Goal::AtMost(1.15).verdict(None), GoalState::Unknown);
    }

    #[test]
    fn what_follows_from_others_follows_round_by_round() {
        let mut figures = Figures {
            series: vec![
                ("a".to_owned(), vec![5.0, 9.0]),
                ("b".to_owned(), vec![1.0, 2.0]),
            ],
            rounds: Rounds::default(),
        };

        figures.derive("a - b", ["a", "b"], |[a, b]| a - b);

        assert_eq!(figures.of("a - b"), [4.0, 7.0]);
        assert_eq!(figures.only(&["a - b"]).series.len(), 1);
    }

    #[test]
    fn what_is_said_of_a_row_is_said_beside_what_was_said_before() {
        let mut report = Report::start(true);
        report.begin("case", "something");
        report.single("what", "s", 1.0, None);

        report.note("one");
        report.note("other");

        assert_eq!(report.rows[0].note.as_deref(), Some("one; other"));
    }
}
