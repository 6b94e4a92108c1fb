//! Plots, as SVG that stands in the page.
//!
//! Colours are names only: the page's style gives each its real colour, another one in the dark.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::table::{number, wanted};
use super::super::{Goal, ReportRow};
use super::text::escape;
use crate::measure::Spread;

/// Width of a plot; the page shows it as wide as there is room.
const WIDTH: u32 = 720;
/// Height of the numbers below a plot.
const AXIS: u32 = 26;
/// Left and right of a plot, for numbers that stand at its ends.
const MARGIN: u32 = 24;
/// Height of a row's label.
const LABEL: f64 = 20.0;
/// Height of a row's dots.
const DOTS: f64 = 34.0;
/// Height of a bar, and from one bar to the next.
const BAR: f64 = 15.0;
const STEP: f64 = 19.0;
/// Between two rows.
const GAP: f64 = 10.0;
/// How many times the least of all ratios the greatest is, before their axis is logarithmic.
const WIDE: f64 = 3.0;

const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
const GOAL: RGBColor = RGBColor(3, 3, 3);
/// Contenders, as [`colour`] gives them out; the last stands for all further ones.
const CONTENDERS: [RGBColor; 5] = [
    RGBColor(11, 11, 11),
    RGBColor(12, 12, 12),
    RGBColor(13, 13, 13),
    RGBColor(14, 14, 14),
    RGBColor(15, 15, 15),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The ratios of all rows that have one, round by round; `None` if there are none.
pub(super) fn ratios(rows: &[&ReportRow]) -> Option<String> {
    let lanes: Vec<Strip<'_>> = rows.iter().filter_map(|row| Strip::of(row)).collect();
    if lanes.is_empty() {
        return None;
    }
    let all: Vec<f64> = lanes
        .iter()
        .flat_map(|lane| lane.ratios.iter().copied().chain(lane.goal.map(target)))
        .chain([1.0])
        .collect();
    let scale = Axis::of(&all);
    let low = scale.low;
    let lane_height = LABEL + DOTS + GAP;
    let height = lane_height * count(lanes.len());
    let label = format!("ratios of {} comparisons", lanes.len());
    Some(drawn(height, &label, |area| {
        let mut chart = grid(area, scale, height, number);
        let line = |value: f64, from: f64, to: f64, style: ShapeStyle| {
            PathElement::new(vec![(value, from), (value, to)], style)
        };
        for (place, lane) in lanes.iter().enumerate() {
            let top = lane_height * count(place);
            let (from, to) = (top + LABEL, top + LABEL + DOTS);
            let label = Text::new(lane.label(), (low, top + 4.0), font(14, INK));
            chart.draw_series([label]).expect("a label");
            let dashes = (0_u8..4).map(|dash| {
                let top = from + DOTS / 4.0 * f64::from(dash);
                line(1.0, top, top + DOTS / 8.0, INK.stroke_width(1))
            });
            chart.draw_series(dashes).expect("the line at 1");
            let bounds = Rectangle::new(
                [(lane.spread.low, from), (lane.spread.high, to)],
                CONTENDERS[0].mix(0.18).filled(),
            );
            chart.draw_series([bounds]).expect("the bounds");
            let last = count(lane.ratios.len().saturating_sub(1)).max(1.0);
            let dots = lane.ratios.iter().enumerate().map(|(round, ratio)| {
                let down = (to - from - 6.0) * count(round) / last;
                let at = (*ratio, from + 3.0 + down);
                Circle::new(at, 3, CONTENDERS[0].mix(0.6).filled())
            });
            chart.draw_series(dots).expect("dots");
            let median = line(lane.spread.median, from, to, CONTENDERS[0].stroke_width(3));
            chart.draw_series([median]).expect("the median");
            if let Some(goal) = lane.goal {
                let goal = line(target(goal), from - 3.0, to + 3.0, GOAL.stroke_width(3));
                chart.draw_series([goal]).expect("the goal");
            }
        }
    }))
}

/// The medians of all contenders of rows with this unit, as bars; `None` if there are none.
pub(super) fn medians(unit: &str, rows: &[&ReportRow]) -> Option<String> {
    let rows: Vec<(&str, Vec<(&str, f64)>)> = rows
        .iter()
        .map(|row| (row.what.as_str(), bars(row)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let all = || rows.iter().flat_map(|(_, bars)| bars);
    let most = all().map(|(_, median)| *median).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let height = STEP * count(all().count()) + (LABEL + GAP) * count(rows.len());
    let label = format!("medians, {unit}");
    Some(drawn(height, &label, |area| {
        // The number stands to the right of the longest bar too.
        let across = RangedCoordf64::from(0.0..most * 1.4);
        let mut chart = grid(area, across, height, short);
        let mut top = 0.0;
        for (what, bars) in &rows {
            let label = Text::new((*what).to_owned(), (0.0, top + 4.0), font(14, INK));
            chart.draw_series([label]).expect("a label");
            top += LABEL;
            for (place, (who, median)) in bars.iter().enumerate() {
                let colour = colour(who, place);
                let bar = Rectangle::new([(0.0, top), (*median, top + BAR)], colour.filled());
                chart.draw_series([bar]).expect("a bar");
                let text = format!("{who} {}", number(*median));
                let at = (most / 120.0 + median.max(0.0), top + BAR / 2.0);
                let style = font(13, INK).pos(Pos::new(HPos::Left, VPos::Center));
                chart
                    .draw_series([Text::new(text, at, style)])
                    .expect("a number");
                top += STEP;
            }
            top += GAP;
        }
    }))
}

/// The ratios of a row.
struct Strip<'a> {
    what: &'a str,
    ratios: Vec<f64>,
    spread: Spread,
    goal: Option<Goal>,
}

impl<'a> Strip<'a> {
    fn of(row: &'a ReportRow) -> Option<Self> {
        row.pair.as_ref()?;
        let [(_, ours), (_, theirs), ..] = row.series.as_slice() else {
            return None;
        };
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(our, their)| our / their)
            .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
            .collect();
        Some(Self {
            what: &row.what,
            spread: Spread::of(&ratios)?,
            ratios,
            goal: row.goal,
        })
    }

    fn label(&self) -> String {
        let Spread {
            low, median, high, ..
        } = self.spread;
        let found = [median, low, high].map(number);
        let goal = self
            .goal
            .map_or_else(String::new, |goal| format!("; goal {}", wanted(goal)));
        format!(
            "{}: {} ({} to {}){goal}",
            self.what, found[0], found[1], found[2]
        )
    }
}

/// What is shown from left to right.
#[derive(Debug, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// One that shows all of these, and a little more.
    fn of(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        if high / low > WIDE {
            let room = (high / low).powf(0.04);
            Self {
                low: low / room,
                high: high * room,
                logarithmic: true,
            }
        } else {
            let room = (high - low).max(0.1) * 0.06;
            Self {
                low: (low - room).max(0.0),
                high: high + room,
                logarithmic: false,
            }
        }
    }

    /// Where a value stands.
    fn at(&self, value: f64) -> f64 {
        if self.logarithmic {
            value.log10()
        } else {
            value
        }
    }

    /// The round values that are shown.
    fn ticks(&self) -> Vec<f64> {
        let within = |tick: &f64| (self.low..=self.high).contains(tick);
        if self.logarithmic {
            (-6..9)
                .flat_map(|power| [1.0, 2.0, 5.0].map(|first| first * 10_f64.powi(power)))
                .filter(within)
                .collect()
        } else {
            let step = round_step((self.high - self.low) / 5.0);
            let first = (self.low / step).ceil();
            (0..12)
                .map(|tick| (first + f64::from(tick)) * step)
                .filter(within)
                .collect()
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (left, right): (i32, i32)) -> i32 {
        let share =
            (self.at(*value) - self.at(self.low)) / (self.at(self.high) - self.at(self.low));
        #[expect(clippy::cast_possible_truncation, reason = "a place in pixels")]
        let place = (share * f64::from(right - left)).round() as i32;
        left + place
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // There are no lines between those that have numbers.
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks()
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        number(*value)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not less.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|first| first * power);
    steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

fn bars(row: &ReportRow) -> Vec<(&str, f64)> {
    row.series
        .iter()
        .filter_map(|(name, figures)| Some((name.as_str(), Spread::of(figures)?.median)))
        .filter(|(_, median)| median.is_finite())
        .collect()
}

/// The colour of a contender: the first of a row and the kernel have the same in every plot.
fn colour(who: &str, place: usize) -> RGBColor {
    let at = match (who, place) {
        ("kernel", _) => 1,
        (_, 0) => 0,
        (_, place) => place.max(2),
    };
    CONTENDERS[at.min(CONTENDERS.len() - 1)]
}

const fn target(goal: Goal) -> f64 {
    match goal {
        Goal::AtLeast(value) | Goal::AtMost(value) => value,
    }
}

/// A round number, as short as it can be.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        format!("{} M", value / 1e6)
    } else if size >= 1e4 {
        format!("{} k", value / 1e3)
    } else {
        value.to_string()
    }
}

fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// Draws onto an area of this height, the axis left out, and returns it as text.
fn drawn(height: f64, label: &str, draw: impl FnOnce(&Area<'_>)) -> String {
    let mut svg = String::new();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a height in pixels"
    )]
    let size = (WIDTH, height.ceil() as u32 + AXIS);
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area);
        area.present().expect("a plot in memory");
    }
    let named = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(label));
    svg.replacen("<svg ", &named, 1)
}

/// Prepares an area of this height: lines at the numbers below it, which `shown` writes.
fn grid<'a, 'b, X>(
    area: &'a Area<'b>,
    across: X,
    height: f64,
    shown: fn(f64) -> String,
) -> ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(MARGIN)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(across, height..0.0)
        .expect("a plot");
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT)
        .x_labels(6)
        .x_label_style(font(13, INK))
        .x_label_formatter(&|value| shown(*value))
        .draw()
        .expect("a grid");
    chart
}

#[expect(clippy::cast_precision_loss, reason = "places of a page are few")]
const fn count(places: usize) -> f64 {
    places as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_that_are_far_apart_stand_on_a_logarithmic_axis() {
        let near = Axis::of(&[0.9, 1.0, 1.2]);
        let far = Axis::of(&[0.5, 1.0, 9.0]);

        assert!(!near.logarithmic && far.logarithmic);
        assert_eq!(near.map(&near.low, (20, 700)), 20);
        assert_eq!(near.map(&near.high, (20, 700)), 700);
        let steps = [0.5, 1.0, 2.0, 4.0, 8.0].map(|ratio| far.map(&ratio, (0, 7_000)));
        let apart: Vec<i32> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            apart.iter().all(|step| (step - apart[0]).abs() <= 1),
            "{apart:?}"
        );
    }

    #[test]
    fn ticks_are_round_and_within() {
        let of = |values: &[f64]| -> Vec<String> {
            Axis::of(values).ticks().into_iter().map(number).collect()
        };

        assert_eq!(of(&[0.5, 1.0, 8.0]), ["0.50", "1.00", "2.00", "5.00"]);
        assert_eq!(
            of(&[0.92, 1.0, 1.31]),
            ["0.90", "1.00", "1.10", "1.20", "1.30"]
        );
    }

    #[test]
    fn the_kernel_has_a_colour_of_its_own() {
        let kernel = colour("kernel", 1);

        assert_eq!(colour("kernel", 2), kernel);
        for (who, place) in [("vtep", 0), ("floor", 1), ("floor", 2), ("more", 9)] {
            assert_ne!(colour(who, place), kernel, "{who}");
        }
    }

    #[test]
    fn numbers_below_bars_are_short() {
        assert_eq!(short(2_500_000.0), "2.5 M");
        assert_eq!(short(20_000.0), "20 k");
        assert_eq!(short(500.0), "500");
    }
}
