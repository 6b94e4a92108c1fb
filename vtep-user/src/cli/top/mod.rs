//! `vtep top`: rates on a terminal, drawn again every second.
//!
//! [`sample`] reads counters, [`rates`] makes rates of two samples, [`screen`] is what keys change, and [`draw`] draws. A thread reads keys,
//! a task reads samples, and the loop here waits for either, for signals, and for nothing else.

mod draw;
mod number;
mod rates;
mod sample;
mod screen;

use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use super::terminal;
use crate::causes::with_causes;
use crate::instance;
use crate::model::settings::top::TopOptions;
use sample::{Sample, Sampler};
use screen::{Screen, Then};

/// Keys that may wait until they are looked at.
const KEYS_AHEAD: usize = 64;

/// Shows rates until `q` is pressed or a signal comes.
pub(super) fn run(options: TopOptions, daemon: Daemon<'_>, output: Output) -> Result<(), Failure> {
    if let Some(why) = no_screen(output) {
        let instance = instance::option(daemon.instance);
        return Err(Failure::refused(format!(
            "{why}; for other programs there are: vtep stats -j{instance}, and as it happens: vtep monitor{instance}"
        )));
    }
    block_on(async {
        // What there is to refuse is said before the screen is taken.
        let mut sampler = Sampler::new(daemon).await?;
        let first = sampler.sample().await?;
        let mut screen = Screen::new(daemon.instance, options.interval_s, terminal::has_colours());
        screen.take(Ok(first));
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        // From here on the screen is ours. It is given back when this is dropped, and by a hook when something panics.
        let mut taken = Taken::new()?;
        let mut keys = keys();
        let period = Duration::from_secs(options.interval_s.into());
        let (sender, mut news) = mpsc::channel(1);
        let watch = watch(sampler, period, sender);
        tokio::pin!(watch);
        loop {
            taken
                .terminal
                .draw(|frame| draw::draw(frame, &mut screen))?;
            tokio::select! {
                () = &mut watch => {}
                Some(sample) = news.recv() => screen.take(sample),
                event = keys.recv() => match event {
                    Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                        if screen.press(key) == Then::Quit {
                            return Ok(());
                        }
                    }
                    // A new size is taken note of when the screen is drawn.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    // Nobody is there to press a key any more.
                    None => return Ok(()),
                },
                _ = terminate.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = quit.recv() => return Ok(()),
            }
        }
    })
}

/// Why there is no screen to draw on, if there is none.
fn no_screen(output: Output) -> Option<&'static str> {
    if output == Output::Json {
        Some("`vtep top` draws a screen, and prints no rows")
    } else if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        Some("`vtep top` draws on a terminal and reads its keys, and this is none")
    } else if !terminal::moves_its_cursor() {
        Some("`vtep top` draws on a terminal whose cursor moves, and TERM names none")
    } else {
        None
    }
}

/// The screen, as long as it is ours.
struct Taken {
    terminal: DefaultTerminal,
}

impl Taken {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminal: ratatui::try_init()?,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What comes from the terminal. The thread that reads it ends with the process: nothing else ends a read.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, keys) = mpsc::channel(KEYS_AHEAD);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                break;
            }
        }
    });
    keys
}

/// Reads a sample in every period, until nobody wants one any more. A daemon that is away is looked for again.
async fn watch(
    sampler: Sampler<'_>,
    period: Duration,
    sender: mpsc::Sender<Result<Sample, String>>,
) {
    let mut sampler = sampler;
    let mut next = tokio::time::Instant::now() + period;
    loop {
        tokio::time::sleep_until(next).await;
        let sample = sampler.sample().await;
        let sample = sample.map_err(|error| with_causes(&error));
        if sender.send(sample).await.is_err() {
            return;
        }
        // One that was late puts off those that follow.
        next = (next + period).max(tokio::time::Instant::now());
    }
}
