//! What the screen shows, and what keys change of it.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rates::{DropRate, FlowRate, Rates};
use super::sample::Sample;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Ports,
    Vnis,
    Peers,
    Drops,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Ports, Self::Vnis, Self::Peers, Self::Drops];

    /// Its name, for its tab.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Vnis => "vnis",
            Self::Peers => "peers",
            Self::Drops => "drops",
        }
    }

    /// The headings of its columns. The first is the name, by which rows are in the order of the alphabet.
    pub(super) const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Ports => &[
                "PORT", "VNI", "TX PKT/S", "TX BIT/S", "RX PKT/S", "RX BIT/S",
            ],
            Self::Vnis => &["VNI", "TX PKT/S", "TX BIT/S", "RX PKT/S", "RX BIT/S"],
            Self::Peers => &[
                "PEER", "STATE", "TX PKT/S", "TX BIT/S", "RX PKT/S", "RX BIT/S",
            ],
            Self::Drops => &["REASON", "HOOK", "PKT/S", "BIT/S", "TOTAL", "MEANING"],
        }
    }

    /// The column that rows are sorted by at first.
    const fn sorted_by(self) -> usize {
        match self {
            Self::Vnis => 1,
            Self::Ports | Self::Peers | Self::Drops => 2,
        }
    }

    /// Its place among all.
    const fn number(self) -> usize {
        match self {
            Self::Ports => 0,
            Self::Vnis => 1,
            Self::Peers => 2,
            Self::Drops => 3,
        }
    }
}

/// A cell: a word, a rate or a count.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Word(String),
    Rate(f64),
    Count(u64),
}

impl Cell {
    /// Words in the order of the alphabet, numbers with the largest first.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Word(one), Self::Word(other)) => natural(one, other),
            (Self::Rate(one), Self::Rate(other)) => other.total_cmp(one),
            (Self::Count(one), Self::Count(other)) => other.cmp(one),
            _ => Ordering::Equal,
        }
    }
}

/// The order of names, in which tap2 comes before tap10: of two that begin alike and end in digits, the shorter number first.
fn natural(one: &str, other: &str) -> Ordering {
    let parts = |name: &str| {
        let begin = name.trim_end_matches(|char: char| char.is_ascii_digit());
        let number: Option<u64> = name[begin.len()..].parse().ok();
        (begin.to_owned(), number)
    };
    parts(one).cmp(&parts(other)).then_with(|| one.cmp(other))
}

/// How the rows of a view are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    /// The column.
    pub(super) column: usize,
    /// Whether it is the other way round.
    pub(super) reversed: bool,
}

/// What follows after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Quit,
}

/// What the screen shows.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) instance: String,
    pub(super) interval_s: u32,
    pub(super) colours: bool,
    pub(super) view: View,
    sorts: [Sort; 4],
    /// What a row has to contain; empty for anything.
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) typing: bool,
    pub(super) paused: bool,
    /// The first row that is shown.
    offset: usize,
    /// How many rows there is room for.
    page: usize,
    last: Option<Sample>,
    pub(super) rates: Rates,
    /// Why there are no new rates, if there are none.
    pub(super) trouble: Option<String>,
}

impl Screen {
    pub(super) fn new(instance: &str, interval_s: u32, colours: bool) -> Self {
        Self {
            instance: instance.to_owned(),
            interval_s,
            colours,
            view: View::Ports,
            sorts: View::ALL.map(|view| Sort {
                column: view.sorted_by(),
                reversed: false,
            }),
            filter: String::new(),
            typing: false,
            paused: false,
            offset: 0,
            page: 1,
            last: None,
            rates: Rates::default(),
            trouble: None,
        }
    }

    /// Takes a sample, or why there is none. What is paused keeps what it shows.
    pub(super) fn take(&mut self, sample: Result<Sample, String>) {
        match sample {
            Ok(sample) => {
                if !self.paused {
                    self.rates = Rates::between(self.last.as_ref(), &sample);
                }
                self.last = Some(sample);
                self.trouble = None;
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// How the view is sorted.
    pub(super) const fn sort(&self) -> Sort {
        self.sorts[self.view.number()]
    }

    /// The rows of the view that the filter lets through, in their order.
    pub(super) fn rows(&self) -> Vec<Vec<Cell>> {
        let mut rows: Vec<_> = match self.view {
            View::Ports => self.rates.ports.iter().map(with_about).collect(),
            View::Vnis => self.rates.vnis.iter().map(flow).collect(),
            View::Peers => self.rates.peers.iter().map(with_about).collect(),
            View::Drops => self.rates.drops.iter().map(drop_row).collect(),
        };
        let wanted = self.filter.to_lowercase();
        let has =
            |cell: &Cell| matches!(cell, Cell::Word(word) if word.to_lowercase().contains(&wanted));
        rows.retain(|row: &Vec<Cell>| row.iter().any(has));
        let Sort { column, reversed } = self.sort();
        rows.sort_by(|one, other| {
            let by = one[column].order(&other[column]);
            let by = if reversed { by.reverse() } else { by };
            by.then_with(|| one[0].order(&other[0]))
        });
        rows
    }

    /// Says how many rows there is room for, of so many; returns the first to show.
    pub(super) fn window(&self, rows: usize, room: usize) -> usize {
        self.offset.min(rows.saturating_sub(room))
    }

    /// Takes note of how many rows there was room for, so that keys move by pages.
    pub(super) const fn set_page(&mut self, room: usize) {
        self.page = if room == 0 { 1 } else { room };
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Then {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Then::Quit;
        }
        if self.typing {
            self.type_filter(key.code);
            return Then::GoOn;
        }
        match key.code {
            KeyCode::Char('q') => return Then::Quit,
            KeyCode::Char('1') => self.show(View::Ports),
            KeyCode::Char('2') => self.show(View::Vnis),
            KeyCode::Char('3') => self.show(View::Peers),
            KeyCode::Char('4') => self.show(View::Drops),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Char('s') => {
                let columns = self.view.columns().len();
                let sort = &mut self.sorts[self.view.number()];
                sort.column = (sort.column + 1) % columns;
            }
            KeyCode::Char('r') => {
                let sort = &mut self.sorts[self.view.number()];
                sort.reversed = !sort.reversed;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            code => self.scroll(code),
        }
        Then::GoOn
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(char) => self.filter.push(char),
            _ => {}
        }
        self.offset = 0;
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.offset = 0;
    }

    /// Turns to the view so many further.
    fn turn(&mut self, by: usize) {
        self.show(View::ALL[(self.view.number() + by) % View::ALL.len()]);
    }

    fn scroll(&mut self, code: KeyCode) {
        // Where the last row stands at the bottom there is no further.
        let last = self.rows().len().saturating_sub(self.page);
        self.offset = match code {
            KeyCode::Down | KeyCode::Char('j') => (self.offset + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.offset.saturating_sub(1),
            KeyCode::PageDown => (self.offset + self.page).min(last),
            KeyCode::PageUp => self.offset.saturating_sub(self.page),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.offset,
        };
    }
}

fn with_about(of: &FlowRate) -> Vec<Cell> {
    let mut cells = flow(of);
    cells.insert(1, Cell::Word(of.about.clone()));
    cells
}

fn flow(of: &FlowRate) -> Vec<Cell> {
    let FlowRate {
        name,
        about: _,
        tx,
        rx,
    } = of;
    vec![
        Cell::Word(name.clone()),
        Cell::Rate(tx.packets),
        Cell::Rate(tx.bits),
        Cell::Rate(rx.packets),
        Cell::Rate(rx.bits),
    ]
}

fn drop_row(of: &DropRate) -> Vec<Cell> {
    let DropRate {
        reason,
        hook,
        meaning,
        rate,
        total,
    } = of;
    vec![
        Cell::Word(reason.clone()),
        Cell::Word(hook.clone()),
        Cell::Rate(rate.packets),
        Cell::Rate(rate.bits),
        Cell::Count(*total),
        Cell::Word(meaning.clone()),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::top::rates::Rate;

    #[test]
    fn a_view_has_its_key_and_tabs_go_round() {
        let mut screen = example();
        for (key, view) in [
            (KeyCode::Char('3'), View::Peers),
            (KeyCode::Tab, View::Drops),
            (KeyCode::Tab, View::Ports),
            (KeyCode::BackTab, View::Drops),
            (KeyCode::Char('2'), View::Vnis),
        ] {
            press(&mut screen, key);
            assert_eq!(screen.view, view, "{key:?}");
        }
    }

    #[test]
    fn rows_are_sorted_by_any_column_in_both_directions() {
        let mut screen = example();
        assert_eq!(names(&screen), ["tap10", "tap2", "tap1"]);

        press(&mut screen, KeyCode::Char('r'));
        assert_eq!(names(&screen), ["tap1", "tap2", "tap10"]);

        // Past the last column is the first, the name.
        press(&mut screen, KeyCode::Char('r'));
        for _ in 2..View::Ports.columns().len() {
            press(&mut screen, KeyCode::Char('s'));
        }
        assert_eq!(screen.sort().column, 0);
        assert_eq!(names(&screen), ["tap1", "tap2", "tap10"]);
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let mut screen = example();
        for key in ['/', 'T', 'A', 'P', '1'] {
            press(&mut screen, KeyCode::Char(key));
        }
        assert_eq!(names(&screen), ["tap10", "tap1"]);

        press(&mut screen, KeyCode::Backspace);
        press(&mut screen, KeyCode::Char('2'));
        press(&mut screen, KeyCode::Enter);
        assert_eq!(names(&screen), ["tap2"]);
        assert!(!screen.typing);

        // A letter that is a command is one again, and was none in the filter.
        press(&mut screen, KeyCode::Esc);
        assert_eq!(names(&screen).len(), 3);
        press(&mut screen, KeyCode::Char('/'));
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Then::GoOn);
        assert_eq!(screen.filter, "q");
        press(&mut screen, KeyCode::Esc);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Then::Quit);
    }

    #[test]
    fn what_is_paused_keeps_its_rates() {
        let mut screen = Screen::new("main", 1, false);
        screen.take(Ok(sample("tap0")));
        press(&mut screen, KeyCode::Char('p'));
        screen.take(Ok(sample("tap1")));
        assert_eq!(names(&screen), ["tap0"]);

        press(&mut screen, KeyCode::Char(' '));
        screen.take(Ok(sample("tap1")));
        assert_eq!(names(&screen), ["tap1"]);
    }

    #[test]
    fn a_daemon_that_is_away_leaves_the_last_rates_and_is_said() {
        let mut screen = Screen::new("main", 1, false);
        screen.take(Ok(sample("tap0")));
        screen.take(Err("no vtep daemon answers".into()));
        assert_eq!(names(&screen), ["tap0"]);
        assert_eq!(screen.trouble.as_deref(), Some("no vtep daemon answers"));

        screen.take(Ok(sample("tap0")));
        assert_eq!(screen.trouble, None);
    }

    #[test]
    fn it_scrolls_no_further_than_there_are_rows() {
        let mut screen = example();
        screen.set_page(2);
        for (key, first) in [
            (KeyCode::Down, 1),
            (KeyCode::Down, 1),
            (KeyCode::Up, 0),
            (KeyCode::PageDown, 1),
            (KeyCode::Home, 0),
            (KeyCode::End, 1),
            (KeyCode::PageUp, 0),
        ] {
            press(&mut screen, key);
            assert_eq!(screen.window(3, 2), first, "{key:?}");
        }
    }

    #[test]
    fn control_c_quits_also_while_a_filter_is_typed() {
        let mut screen = example();
        press(&mut screen, KeyCode::Char('/'));
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(key), Then::Quit);
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Then {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn names(screen: &Screen) -> Vec<String> {
        let rows = screen.rows().into_iter();
        rows.map(|row| match &row[0] {
            Cell::Word(name) => name.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    fn sample(port: &str) -> Sample {
        let mut sample = Sample::of(std::time::Instant::now(), vec![], vec![], vec![], vec![]);
        sample
            .ports
            .insert(port.into(), super::super::sample::Flow::default());
        sample
    }

    /// A screen with something in each view.
    pub(in crate::cli::top) fn example() -> Screen {
        let rate = |packets: f64, bytes: f64| Rate {
            packets,
            bits: 8.0 * packets * bytes,
        };
        let flow = |name: &str, about: &str, tx: Rate, rx: Rate| FlowRate {
            name: name.into(),
            about: about.into(),
            tx,
            rx,
        };
        let drop = |reason: &str, hook: &str, rate: Rate, total, meaning: &str| DropRate {
            reason: reason.into(),
            hook: hook.into(),
            meaning: meaning.into(),
            rate,
            total,
        };
        let mut screen = Screen::new("main", 1, false);
        screen.rates = Rates {
            ports: vec![
                flow("tap1", "100", rate(12.0, 98.0), rate(11.0, 98.0)),
                flow(
                    "tap10",
                    "200",
                    rate(81_300.0, 1_434.0),
                    rate(20_100.0, 66.0),
                ),
                flow("tap2", "100", rate(1_530.0, 512.0), rate(0.0, 0.0)),
            ],
            vnis: vec![
                flow("100", "", rate(1_542.0, 508.0), rate(11.0, 98.0)),
                flow("200", "", rate(81_300.0, 1_434.0), rate(20_100.0, 66.0)),
            ],
            peers: vec![
                flow(
                    "2001:db8:1:2:3:4:5:6",
                    "resolved",
                    rate(81_300.0, 1_434.0),
                    rate(20_100.0, 66.0),
                ),
                flow("192.0.2.3", "silent", rate(3.0, 60.0), rate(0.0, 0.0)),
            ],
            drops: vec![
                drop(
                    "too_big",
                    "port",
                    rate(4.0, 1_514.0),
                    1_204,
                    "Larger than the path to its VTEP carries.",
                ),
                drop(
                    "unknown_vni",
                    "uplink_xdp",
                    rate(0.0, 0.0),
                    17,
                    "For a VNI that this VTEP does not have.",
                ),
            ],
        };
        screen
    }
}
