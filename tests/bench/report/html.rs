//! The report as a page that needs nothing but itself.

mod plot;
mod text;

use std::fmt::Write as _;

use self::text::{date, duration, escape};
use super::table::{number, wanted, word};
use super::{GoalState, Report, ReportRow};
use crate::measure::Spread;

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
    page.push_str("<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<title>vtep: measured beside the kernel</title>\n<style>\n");
    page.push_str(STYLE);
    page.push_str("</style>\n</head>\n<body>\n<main>\n");
    page.push_str("<h1>vtep, measured beside the kernel’s own vxlan device and bridge</h1>\n");
    if report.smoke {
        page.push_str(
            "<p class=\"warning\">Only to see that everything works: these figures say nothing.</p>\n",
        );
    }
    page.push_str(&machine(report));
    page.push_str(&goals(report));
    page.push_str(
        "<p class=\"hint\">All contenders of a row were measured in turn, in each round anew. A ratio is the median of the \
         ratios of the rounds, with the bounds between which it lies with 95 % confidence (bootstrap).</p>\n",
    );
    for (name, about) in &report.cases {
        page.push_str(&case(report, name, about));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let mut facts = vec![
        ("command", machine.command.clone()),
        (
            "began",
            format!(
                "{}, and took {}",
                date(machine.began),
                duration(machine.took)
            ),
        ),
        (
            "processors",
            format!("{} × {}", machine.processors, machine.processor),
        ),
        ("memory", format!("{} MiB", whole(machine.memory_mib))),
        ("kernel", machine.kernel.clone()),
    ];
    let listed = |pairs: &[(String, String)]| {
        let lines: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        lines.join("\n")
    };
    facts.push(("mitigations", listed(&machine.mitigations)));
    facts.push(("settings", listed(&machine.settings)));
    let mut html = String::from("<section id=\"machine\">\n<h2>The machine</h2>\n<dl>\n");
    for (name, value) in facts {
        put(
            &mut html,
            format_args!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value)),
        );
    }
    html.push_str("</dl>\n</section>\n");
    html
}

fn goals(report: &Report) -> String {
    let mut html = String::from("<section id=\"goals\">\n<h2>Goals</h2>\n");
    let wanted_rows: Vec<&ReportRow> = report
        .rows
        .iter()
        .filter(|row| row.goal.is_some())
        .collect();
    if wanted_rows.is_empty() {
        html.push_str("<p>None of what was measured has a goal.</p>\n</section>\n");
        return html;
    }
    html.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th>case</th><th>what</th><th class=\"n\">goal</th>\
         <th class=\"n\">reached</th><th></th></tr></thead>\n<tbody>\n",
    );
    for row in wanted_rows {
        put(
            &mut html,
            format_args!(
                "<tr><td><a href=\"#case-{0}\">{0}</a></td><td class=\"what\">{1}</td><td class=\"n\">{2}</td><td class=\"n\">{3}</td>\
                 <td>{4}</td></tr>\n",
                escape(&row.case),
                escape(&row.what),
                goal(row),
                found(row),
                verdict(row),
            ),
        );
    }
    html.push_str("</tbody></table></div>\n</section>\n");
    html
}

fn case(report: &Report, name: &str, about: &str) -> String {
    let rows: Vec<&ReportRow> = report.rows.iter().filter(|row| row.case == name).collect();
    let mut html = format!(
        "<section id=\"case-{0}\">\n<h2>{0}</h2>\n<p>{1}</p>\n",
        escape(name),
        escape(about)
    );
    html.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th>what</th><th class=\"n\">medians</th><th class=\"n\">ratio</th>\
         <th class=\"n\">goal</th><th></th><th>rounds</th></tr></thead>\n<tbody>\n",
    );
    for row in &rows {
        html.push_str(&line(row));
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(svg) = plot::ratios(&rows) {
        put(
            &mut html,
            format_args!(
                "<figure>{svg}<figcaption>Ratios: a dot for each round, from the first at the top to the last; the median, \
                 and its bounds. The dashed line stands at 1, the <b class=\"goal\">green</b> ones at the goals.\
                 </figcaption></figure>\n"
            ),
        );
    }
    for (unit, of_unit) in by_unit(&rows) {
        if let Some(svg) = plot::medians(unit, &of_unit) {
            put(
                &mut html,
                format_args!(
                    "<figure>{svg}<figcaption>Medians, {}.</figcaption></figure>\n",
                    escape(unit)
                ),
            );
        }
    }
    html.push_str("</section>\n");
    html
}

/// A row of a case's table.
fn line(row: &ReportRow) -> String {
    let medians: Vec<String> = row
        .series
        .iter()
        .filter_map(|(name, figures)| {
            let spread = Spread::of(figures)?;
            Some(format!(
                "<span class=\"who\">{}</span> {}",
                escape(name),
                number(spread.median)
            ))
        })
        .collect();
    let ratio = if row.pair.is_some() {
        found(row)
    } else {
        String::new()
    };
    let mut what = escape(&row.what);
    if let Some(note) = &row.note {
        put(
            &mut what,
            format_args!("<p class=\"note\">{}</p>", escape(note)),
        );
    }
    format!(
        "<tr><td class=\"what\">{what}</td><td class=\"n\">{}<br><span class=\"unit\">{}</span></td><td class=\"n\">{ratio}</td>\
         <td class=\"n\">{}</td><td>{}</td><td class=\"rounds\">{}</td></tr>\n",
        medians.join("<br>"),
        escape(&row.unit),
        goal(row),
        verdict(row),
        rounds(row),
    )
}

/// What the goal is compared with, and its bounds.
fn found(row: &ReportRow) -> String {
    let Some(spread) = row.spread else {
        return "–".to_owned();
    };
    let bounds = if row.rounds.kept > 1 {
        format!(
            "<br><span class=\"unit\">{} to {}</span>",
            number(spread.low),
            number(spread.high)
        )
    } else {
        String::new()
    };
    format!("<b>{}</b>{bounds}", number(spread.median))
}

fn goal(row: &ReportRow) -> String {
    let Some(goal) = row.goal else {
        return String::new();
    };
    let unit = if row.pair.is_some() {
        "times"
    } else {
        &row.unit
    };
    format!(
        "{}<br><span class=\"unit\">{}</span>",
        escape(&wanted(goal)),
        escape(unit)
    )
}

fn verdict(row: &ReportRow) -> String {
    row.verdict.map_or_else(String::new, |verdict| {
        let class = match verdict {
            GoalState::Reached => "reached",
            GoalState::ReachedByMedian => "nearly",
            GoalState::Missed => "missed",
            GoalState::Unknown => "unknown",
        };
        format!("<span class=\"verdict {class}\">{}</span>", word(verdict))
    })
}

fn rounds(row: &ReportRow) -> String {
    let rounds = &row.rounds;
    let mut html = format!("{} kept", rounds.kept);
    let left_out = [
        (rounds.stolen, "the host took time away"),
        (rounds.unsteady, "the machine was unsteady"),
        (rounds.void, "void"),
    ];
    for (count, why) in left_out {
        if count > 0 {
            put(&mut html, format_args!("<br>{count} left out: {why}"));
        }
    }
    if let Some(why) = &rounds.why {
        put(&mut html, format_args!(" ({})", escape(why)));
    }
    html
}

/// Rows whose figures are of one unit, in the order in which the units come up.
fn by_unit<'a>(rows: &[&'a ReportRow]) -> Vec<(&'a str, Vec<&'a ReportRow>)> {
    let mut groups: Vec<(&str, Vec<&ReportRow>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(unit, _)| *unit == row.unit) {
            Some((_, group)) => group.push(row),
            None => groups.push((&row.unit, vec![row])),
        }
    }
    groups
}

#[expect(clippy::cast_precision_loss, reason = "shown as a whole number")]
fn whole(value: u64) -> String {
    number(value as f64)
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    html.write_fmt(what).expect("write to a string");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Figures, Goal, Rounds};

    fn figures(series: &[(&str, &[f64])], rounds: Rounds) -> Figures {
        Figures {
            series: series
                .iter()
                .map(|(name, figures)| ((*name).to_owned(), figures.to_vec()))
                .collect(),
            rounds,
        }
    }

    fn report() -> Report {
        let mut report = Report::start(false);
        let kept = |kept| Rounds {
            kept,
            ..Rounds::default()
        };
        report.begin("flood", "copies & <costs>");
        let copies = figures(
            &[("vtep", &[1.0, 2.0, 3.0]), ("kernel", &[4.0, 4.0, 4.0])],
            kept(3),
        );
        report.ratio("to 32 <VTEPs>", "ns", &copies, Some(Goal::AtMost(0.6)));
        report.note("a \"note\" <script>");
        report.begin("empty", "no round counts");
        let lost = Rounds {
            void: 2,
            why: Some("1 < 2".to_owned()),
            ..Rounds::default()
        };
        let none = figures(&[("vtep", &[]), ("kernel", &[])], lost);
        report.ratio("nothing", "pps", &none, Some(Goal::AtLeast(5.0)));
        report.single("start-up", "s", 2.5, None);
        report
    }

    #[test]
    fn every_row_case_and_remark_is_there_and_escaped() {
        let page = page(&report());

        for wanted in [
            "<h2>flood</h2>",
            "copies &amp; &lt;costs&gt;",
            "to 32 &lt;VTEPs&gt;",
            "a &quot;note&quot; &lt;script&gt;",
            "<h2>empty</h2>",
            "nothing",
            "2 left out: void (1 &lt; 2)",
            "start-up",
            "2.50",
            "≤ 0.60",
            "reached by the median only",
            "not measured",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing:\n{page}");
        }
        for raw in ["<VTEPs>", "<costs>", "<script"] {
            assert!(!page.contains(raw), "{raw}");
        }
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = page(&report());

        for outside in [" src=", "<link", "@import", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let addresses = page.matches("http").count();
        assert_eq!(addresses, page.matches("xmlns=\"http").count());
    }

    #[test]
    fn a_case_has_a_plot_of_its_ratios_and_one_of_each_unit() {
        let page = page(&report());

        // flood: ratios and medians; empty: only the medians of what was measured once.
        assert_eq!(page.matches("<svg").count(), 3);
    }
}
