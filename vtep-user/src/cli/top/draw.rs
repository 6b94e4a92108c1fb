//! The screen as it is drawn: a line about the daemon, the tabs, the rows, and a line about the keys.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell as TableCell, Paragraph, Row, Table};

use super::number::short;
use super::screen::{Cell, Screen, View};
use crate::model::printable;

/// The width of a column of numbers.
const NUMBER: u16 = 8;
/// The width of a column of states, VNIs or hooks.
const WORD: u16 = 11;
/// The most that a reason takes.
const REASON: u16 = 20;

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, tabs, table, foot] = parts.areas(frame.area());
    let rows = screen.rows();
    // One line of the table is its heading.
    let room = usize::from(table.height.saturating_sub(1));
    screen.set_page(room);
    let first = screen.window(rows.len(), room);
    frame.render_widget(heading(screen), head);
    frame.render_widget(tab_line(screen, rows.len(), first, room, tabs.width), tabs);
    let shown = rows.iter().skip(first).take(room);
    draw_rows(frame, screen, shown, table);
    frame.render_widget(key_line(screen), foot);
}

/// The instance and its sums, or why nothing new is known.
fn heading(screen: &Screen) -> Paragraph<'static> {
    let rates = &screen.rates;
    let mut spans = vec![Span::styled(
        format!("vtep top - {}", screen.instance),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    if let Some(why) = &screen.trouble {
        let style = coloured(screen, Color::Red).add_modifier(Modifier::BOLD);
        spans.push(Span::styled(format!("  {why}"), style));
        return Paragraph::new(Line::from(spans));
    }
    let sum = |of: fn(&super::rates::FlowRate) -> f64| rates.ports.iter().map(of).sum::<f64>();
    let bits = short(sum(|port| port.tx.bits + port.rx.bits));
    let packets = short(sum(|port| port.tx.packets + port.rx.packets));
    let dropped = rates.dropped();
    spans.push(Span::raw(format!(
        "  every {} s  {bits}bit/s  {packets} pkt/s  ",
        screen.interval_s
    )));
    let style = if dropped > 0.0 {
        coloured(screen, Color::Red)
    } else {
        Style::new()
    };
    spans.push(Span::styled(format!("{} drop/s", short(dropped)), style));
    if screen.paused {
        let style = coloured(screen, Color::Yellow).add_modifier(Modifier::REVERSED);
        spans.push(Span::raw("  "));
        spans.push(Span::styled(" paused ", style));
    }
    Paragraph::new(Line::from(spans))
}

/// The views, with the one that is shown set off, and which rows of how many are.
fn tab_line(
    screen: &Screen,
    rows: usize,
    first: usize,
    room: usize,
    width: u16,
) -> Paragraph<'static> {
    let mut spans = Vec::new();
    for (number, view) in (1..).zip(View::ALL) {
        let style = if view == screen.view {
            Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!(" {number} {} ", view.name()), style));
    }
    let shown = if rows == 0 {
        "none".to_owned()
    } else {
        format!("{}-{} of {rows}", first + 1, (first + room).min(rows))
    };
    let left: usize = spans.iter().map(Span::width).sum();
    let gap = usize::from(width).saturating_sub(left + shown.len());
    spans.push(Span::raw(" ".repeat(gap)));
    spans.push(Span::raw(shown));
    Paragraph::new(Line::from(spans))
}

fn draw_rows<'a>(
    frame: &mut Frame<'_>,
    screen: &Screen,
    rows: impl Iterator<Item = &'a Vec<Cell>>,
    area: Rect,
) {
    let sort = screen.sort();
    let columns = screen.view.columns();
    let headings = columns.iter().enumerate().map(|(at, name)| {
        let mut style = Style::new().add_modifier(Modifier::BOLD);
        if at == sort.column {
            style = style.add_modifier(Modifier::UNDERLINED | Modifier::REVERSED);
        }
        let text = Text::styled(*name, style);
        TableCell::from(if is_number(screen.view, at) {
            text.alignment(Alignment::Right)
        } else {
            text
        })
    });
    let rows = rows.map(|row| Row::new(row.iter().map(|cell| table_cell(screen, cell))));
    let table = Table::new(rows, widths(screen.view))
        .header(Row::new(headings))
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn is_number(view: View, column: usize) -> bool {
    match view {
        View::Vnis => column > 0,
        View::Ports | View::Peers => column > 1,
        View::Drops => (2..5).contains(&column),
    }
}

fn widths(view: View) -> Vec<Constraint> {
    let columns = view.columns().len();
    let of_column = |at| match (view, at) {
        (View::Drops, 0) => Constraint::Max(REASON),
        (View::Drops, 5) | (_, 0) => Constraint::Fill(1),
        _ if is_number(view, at) => Constraint::Length(NUMBER),
        _ => Constraint::Length(WORD),
    };
    (0..columns).map(of_column).collect()
}

fn table_cell(screen: &Screen, cell: &Cell) -> TableCell<'static> {
    match cell {
        Cell::Word(word) => {
            let style = match word.as_str() {
                "silent" | "resolving" => coloured(screen, Color::Yellow),
                "unreachable" => coloured(screen, Color::Red),
                _ => Style::new(),
            };
            TableCell::from(Text::styled(printable(word), style))
        }
        Cell::Rate(rate) => TableCell::from(Text::raw(short(*rate)).alignment(Alignment::Right)),
        Cell::Count(count) => {
            TableCell::from(Text::raw(count.to_string()).alignment(Alignment::Right))
        }
    }
}

/// The keys, or the filter that is being typed.
fn key_line(screen: &Screen) -> Paragraph<'static> {
    if screen.typing {
        return Paragraph::new(format!(
            "filter: {}_  (Enter keeps it, Esc clears it)",
            screen.filter
        ));
    }
    let filter = if screen.filter.is_empty() {
        "/ filter".to_owned()
    } else {
        format!("filter: {} (Esc clears it)", screen.filter)
    };
    let pause = if screen.paused { "p go on" } else { "p pause" };
    Paragraph::new(format!(
        "q quit  1-4 Tab view  s sort  r reverse  {filter}  {pause}  arrows scroll"
    ))
}

/// A colour, where colours are wanted.
fn coloured(screen: &Screen, colour: Color) -> Style {
    if screen.colours {
        Style::new().fg(colour)
    } else {
        Style::new()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::top::screen::tests::example;

    const BEGIN: &str = "<!-- drawn: VTEP_BLESS=1 cargo test -p vtep-user --lib top -->\n";
    const END: &str = "<!-- end -->";

    #[test]
    fn the_screens_of_the_document_are_those_that_are_drawn() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/top.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (drawn, after) = rest.split_once(END).unwrap();
        let mut screen = example();
        let ports = lines(&mut screen, 80, 10);
        screen.view = View::Drops;
        let drops = lines(&mut screen, 80, 8);
        let want = format!("\n```\n{ports}```\n\n```\n{drops}```\n\n");
        if std::env::var_os("VTEP_BLESS").is_some() {
            fs::write(&path, format!("{before}{BEGIN}{want}{END}{after}")).unwrap();
            return;
        }
        assert_eq!(drawn, want);
    }

    #[test]
    fn every_view_fits_eighty_columns() {
        for view in View::ALL {
            let mut screen = example();
            screen.view = view;
            let text = lines(&mut screen, 80, 24);
            for heading in view.columns() {
                assert!(text.contains(heading), "{heading} is not in:\n{text}");
            }
            let rows = screen.rows();
            for cell in rows.iter().flatten() {
                let shown = match cell {
                    // Where a name is too long its beginning is shown.
                    Cell::Word(word) => word.chars().take(11).collect(),
                    Cell::Rate(rate) => short(*rate),
                    Cell::Count(count) => count.to_string(),
                };
                assert!(text.contains(&shown), "{shown} is not in:\n{text}");
            }
        }
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(1, 1), (3, 2), (20, 3), (79, 4), (300, 100)] {
            for view in View::ALL {
                let mut screen = example();
                screen.view = view;
                screen.filter = "a".into();
                screen.trouble = Some("no vtep daemon answers".into());
                lines(&mut screen, width, height);
            }
        }
    }

    #[test]
    fn what_finds_no_room_is_scrolled_to() {
        let mut screen = example();
        let text = lines(&mut screen, 80, 5);
        assert!(
            text.contains("1-1 of 3") && text.contains("tap10"),
            "{text}"
        );

        screen.press(ratatui::crossterm::event::KeyCode::End.into());
        let text = lines(&mut screen, 80, 5);
        assert!(
            text.contains("3-3 of 3") && text.contains("tap1 "),
            "{text}"
        );
    }

    #[test]
    fn pause_filter_and_trouble_are_said() {
        let mut screen = example();
        screen.paused = true;
        assert!(lines(&mut screen, 80, 24).contains("drop/s   paused"));
        screen.typing = true;
        screen.filter = "tap2".into();
        let text = lines(&mut screen, 80, 24);
        assert!(
            text.contains("filter: tap2_") && text.contains("1-1 of 1"),
            "{text}"
        );
        screen.filter = "none of them".into();
        assert!(lines(&mut screen, 80, 24).contains("none"));
        screen.trouble = Some("the daemon closed the connection".into());
        assert!(lines(&mut screen, 80, 24).contains("the daemon closed the connection"));
    }

    /// What is drawn, a line each, without the spaces at their ends.
    fn lines(screen: &mut Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let rows = buffer.content().chunks(usize::from(width));
        let text = rows.map(|row| {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned() + "\n"
        });
        text.collect()
    }
}
