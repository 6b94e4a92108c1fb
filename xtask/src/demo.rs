//! `cargo xtask demo`: a segment across two hypervisors, to look at.

use crate::{
    build::{self, Profile},
    lab::{Lab, PORT, Side, inside},
    setup,
    shell::{Result, need_root, text, uninterrupted},
};

/// How much the machines exchange by TCP.
const TRANSFER: u64 = 100_000_000;

/// Runs the verb.
pub(crate) fn run(keep: bool) -> Result<()> {
    need_root("demo")?;
    setup::ensure()?;
    setup::bpffs()?;
    let binary = build::vtep(Profile::Release)?;

    title("Two hypervisors, a router between them, and a virtual machine on each");
    let mut lab = Lab::new("demo")?;
    for side in Side::BOTH {
        println!(
            "  {} {} ({}), on hypervisor {} at {}",
            lab.machine(side),
            side.machine(),
            side.mac(),
            lab.hypervisor(side),
            side.vtep(),
        );
    }

    title("vtep on both, and its tables");
    let hypervisors = Side::BOTH.map(|side| lab.hypervisor(side));
    lab.connect_by_vtep(&binary, |side, line| {
        let [a, b] = &hypervisors;
        println!("  {}# vtep {line}", if side == Side::A { a } else { b });
    })?;

    title("Ping from machine to machine");
    lab.wait_until_connected(Side::A)?;
    print!("{}", indented(&lab.ping(Side::A, "-c 3 -i 0.2")?));

    title("TCP, both ways");
    for from in Side::BOTH {
        uninterrupted()?;
        let (bytes, took) = lab.transfer(from, TRANSFER)?;
        println!(
            "  {} -> {}: {bytes} bytes, each as it was sent, {:.2} Gbit/s",
            lab.machine(from),
            lab.machine(from.other()),
            gigabits(bytes, took.as_secs_f64()),
        );
    }

    for line in [
        "vni show",
        "port show",
        "fdb show",
        "peer show",
        "stats",
        "drops",
    ] {
        title(&format!("{}# vtep {line}", lab.hypervisor(Side::A)));
        print!("{}", indented(&lab.ask(Side::A, line)?));
    }

    if keep {
        title("It stays up; look around with");
        let shell = "PS1=vm-a#\\  bash --norc";
        println!(
            "  nsenter --net=/run/netns/{} env {shell}",
            lab.machine(Side::A)
        );
        println!(
            "  {}",
            text(inside(&lab.machine(Side::A), "ping".as_ref()).arg(Side::B.machine()))
        );
        for line in ["fdb show", "peer show", "stats", "drops"] {
            println!(
                "  {} {line} --instance {}",
                binary.display(),
                lab.instance(Side::A)
            );
        }
        println!(
            "  {}",
            text(
                inside(&lab.hypervisor(Side::A), "ip".as_ref()).args(["-s", "link", "show", PORT])
            )
        );
        println!("and take it away with\n  {}", lab.removal());
        lab.keep();
    } else {
        drop(lab);
        title("Everything is taken away again");
    }
    Ok(())
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn indented(text: &str) -> String {
    text.split_inclusive('\n')
        .flat_map(|line| ["  ", line])
        .collect()
}

/// Returns the rate in Gbit/s.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn gigabits(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 * 8.0 / seconds / 1e9
}
