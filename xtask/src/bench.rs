//! `cargo xtask bench`: vtep against the kernel's own vxlan device, in turn within one run.

use std::{collections::BTreeMap, fs, path::Path};

use aya::programs::ProgramInfo;
use clap::Args;

use crate::{
    build::{self, Profile},
    demo::gigabits,
    lab::{Family, Lab, Side, Size},
    learning, setup,
    shell::{Failure, Result, doing, need_root, said, uninterrupted},
};

/// The most instructions that the verifier may walk through in one of our programs.
const INSTRUCTION_BUDGET: u32 = 4_000;

/// Where instances pin what they load.
const PINS: &str = "/sys/fs/bpf/vtep";

/// How long to measure.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How often each of the two is measured.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure the kernel's device only; for looking at the machine itself.
    #[arg(long)]
    kernel_only: bool,
}

/// Runs the verb.
pub(crate) fn run(options: &Options) -> Result<()> {
    need_root("bench")?;
    setup::ensure()?;
    setup::bpffs()?;
    let binary = (!options.kernel_only)
        .then(|| build::vtep(Profile::Release))
        .transpose()?;

    println!(
        "TCP from virtual machine to virtual machine, one stream, {} s each",
        options.seconds
    );
    let mut measured = false;
    for family in [Family::V4, Family::V6] {
        let kernel = Lab::new(&format!("k{}", family.name()), family, false)?;
        kernel.connect_by_kernel()?;
        kernel.wait_until_connected(Side::A)?;
        let mut ours = Lab::new(&format!("v{}", family.name()), family, false)?;
        if let Some(binary) = &binary {
            ours.connect_by_vtep(binary, |_, _| ())?;
            ours.wait_until_connected(Side::A)?;
        }
        let mut ratios = Vec::new();
        for round in 1..=options.rounds {
            uninterrupted()?;
            let theirs = rate(&kernel, options)?;
            if options.kernel_only {
                println!(
                    "  {} round {round}: kernel {theirs:.2} Gbit/s",
                    family.name()
                );
                continue;
            }
            let own = rate(&ours, options)?;
            let ratio = own / theirs;
            println!(
                "  {} round {round}: kernel {theirs:.2} Gbit/s, vtep {own:.2} Gbit/s, ratio {ratio:.2}",
                family.name()
            );
            ratios.push(ratio);
        }
        if let Some(Spread {
            least,
            median,
            most,
        }) = Spread::of(&mut ratios)
        {
            println!(
                "  {} ratio: median {median:.2}, {least:.2} to {most:.2}",
                family.name()
            );
        }
        if !measured && !options.kernel_only {
            measured = true;
            footprint(&ours)?;
            learning::measure(&ours)?;
        }
    }
    Ok(())
}

fn rate(lab: &Lab, options: &Options) -> Result<f64> {
    let (bytes, took) = lab.transfer(Side::A, Size::Seconds(options.seconds))?;
    Ok(gigabits(bytes, took.as_secs_f64()))
}

/// Prints what the daemons and programs of `lab` take up.
fn footprint(lab: &Lab) -> Result<()> {
    for process in lab.daemons() {
        let status = fs::read_to_string(format!("/proc/{process}/status"))
            .map_err(doing("read the daemon's status"))?;
        match resident_kib(&status) {
            Some(kib) => println!(
                "  daemon {process}: {:.1} MiB resident",
                f64::from(kib) / 1024.0
            ),
            None => return said("the daemon's status names no resident size"),
        }
    }
    for (name, verified) in verified(&Path::new(PINS).join(lab.instance(Side::A)))? {
        let over = if verified > INSTRUCTION_BUDGET {
            " OVER THE BUDGET"
        } else {
            ""
        };
        println!("  program {name}: {verified} verified instructions{over}");
    }
    Ok(())
}

/// Returns how many instructions the verifier walked through in each program that an instance
/// pinned, by name.
fn verified(pins: &Path) -> Result<BTreeMap<String, u32>> {
    let programs = pins.join("programs");
    let look = || doing(format!("look into {}", programs.display()));
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(&programs).map_err(look())? {
        let path = entry.map_err(look())?.path();
        let info = ProgramInfo::from_pin(&path)
            .map_err(|error| Failure::Said(format!("open {}: {error}", path.display())))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        counts.insert(name, info.verified_instruction_count().unwrap_or(0));
    }
    Ok(counts)
}

fn resident_kib(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The middle and the ends of some figures.
#[derive(Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// Sorts `figures`; there is no spread of none.
    fn of(figures: &mut [f64]) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            f64::midpoint(*figures.get(middle.checked_sub(1)?)?, *figures.get(middle)?)
        } else {
            *figures.get(middle)?
        };
        Some(Self {
            least: *figures.first()?,
            median,
            most: *figures.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_middle_two() {
        assert_eq!(Spread::of(&mut []), None);
        let odd = Spread::of(&mut [3.0, 1.0, 2.0]);
        assert_eq!(
            odd,
            Some(Spread {
                least: 1.0,
                median: 2.0,
                most: 3.0
            })
        );
        let even = Spread::of(&mut [4.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            even,
            Some(Spread {
                least: 1.0,
                median: 2.5,
                most: 4.0
            })
        );
    }

    #[test]
    fn resident_size_is_read_from_the_status() {
        assert_eq!(
            resident_kib("VmSize:\t 9 kB\nVmRSS:\t   12345 kB\n"),
            Some(12345)
        );
        assert_eq!(resident_kib("Name:\tvtep\n"), None);
    }
}
