//! `cargo xtask bench`: vtep against the kernel's own vxlan device and bridge, in turn within one run.
//!
//! What is measured is in `cases`, how in `measure`, and what becomes of the figures in `report`.

mod cases;
mod measure;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vtep_tests::interrupt;

use self::measure::Scale;
use self::report::Report;

/// Measure vtep beside the kernel's own vxlan device and bridge.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct BenchOptions {
    /// Run only this case; may be given more than once.
    #[arg(long, value_name = "CASE", value_parser = cases::names())]
    only: Vec<String>,
    /// Rounds of each comparison; by default as many as the case needs.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Seconds of each measurement that takes a fixed time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure the cases `program` and `packets` beside another build of vtep too, and say whether a row has become slower.
    #[arg(long, value_name = "VTEP", value_parser = existing)]
    baseline: Option<PathBuf>,
    /// Run every case for a moment, with its checks, to see that it works; its figures say nothing.
    #[arg(long)]
    smoke: bool,
    /// Where the results go, as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.json")]
    json: PathBuf,
    /// Where the report goes, a page for the browser that needs nothing else.
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.html")]
    html: PathBuf,
    /// Where the tables go, as Markdown; without it, nowhere.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Generate the page from earlier results, and measure nothing.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// A file that is there, by its whole path.
fn existing(file: &str) -> Result<PathBuf, String> {
    std::fs::canonicalize(file).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let options = BenchOptions::parse();
    let report = match &options.from {
        Some(file) => Report::read(file),
        None => interrupt::hold().map(|()| measured(&options)),
    };
    match report.and_then(|report| {
        report.print();
        report.write_html(&options.html)?;
        if options.from.is_none() {
            report.write_json(&options.json)?;
            println!("\nresults: {}", options.json.display());
        }
        println!("report:  {}", options.html.display());
        if let Some(file) = &options.markdown {
            report.write_markdown(file)?;
            println!("tables:  {}", file.display());
        }
        report.complete()
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn measured(options: &BenchOptions) -> Report {
    let scale = Scale::new(options.rounds, options.seconds, options.smoke)
        .beside(options.baseline.as_deref());
    let mut report = Report::start(options.smoke);
    for case in cases::ALL {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == case.name) {
            continue;
        }
        report.begin(case.name, case.about);
        (case.run)(&scale, &mut report);
    }
    report.end();
    report
}
