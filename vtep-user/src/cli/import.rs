//! `vtep import kernel`

use std::io::{self, Write};

use super::failure::{Failure, block_on};
use super::output::Output;
use crate::import::{ImportError, collect, configuration};
use crate::model::ImportRow;
use crate::model::settings::import::ImportOptions;

/// What stands before the commands.
const HEADING: &str = "\
# The kernel's vxlan devices of this network namespace, as a configuration of vtep. Nothing was changed.
# Comments say what is left out or done in another way, and what to type for it.
";

/// Prints the configuration, with what is left out as comments.
pub(super) fn run(options: ImportOptions, output: Output) -> Result<(), Failure> {
    let facts = block_on(async {
        let facts = collect().await;
        facts.map_err(|error| Failure::Failed(ImportError::from(error).into()))
    })?;
    let port = options.udp_port.map(std::num::NonZeroU16::get);
    let rows = configuration(&facts, port).map_err(|error| Failure::Failed(error.into()))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if output == Output::Json {
        serde_json::to_writer(&mut out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&rows))?;
    }
    Ok(out.flush()?)
}

/// The rows as a configuration file.
fn text(rows: &[ImportRow]) -> String {
    let mut text = HEADING.to_owned();
    let mut devices: Vec<_> = rows
        .iter()
        .filter(|row| row.command.is_some())
        .filter_map(|row| row.device.as_deref())
        .collect();
    devices.dedup();
    if !devices.is_empty() {
        text.push_str("#\n# To change over, with this as /etc/vtep/main.conf:\n");
        for device in devices {
            text.extend(["#   ip link del ", device, "\n"]);
        }
        text.push_str("#   vtep run --config /etc/vtep/main.conf\n");
    }
    let mut device = None;
    for row in rows {
        if row.device.as_deref() != device {
            device = row.device.as_deref();
            text.extend(["\n# ", device.unwrap_or_default(), "\n"]);
        } else if device.is_none() && row.command.is_some() {
            text.push('\n');
        }
        let is_head = |command: &str| {
            ["vni ", "run "]
                .iter()
                .any(|word| command.starts_with(word))
        };
        if let Some(command) = &row.command {
            let indent = if is_head(command) { "" } else { "  " };
            text.extend([indent, command, "\n"]);
        }
        if let Some(what) = &row.left_out {
            text.extend(["# - ", what, "\n"]);
            for line in &row.instead {
                text.extend(["#     ", line, "\n"]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stands_in_comments_below_the_device() {
        let rows = [
            row(None, Some("run --iface eth0"), None),
            row(Some("vxlan100"), Some("vni add 100"), None),
            row(
                Some("vxlan100"),
                Some("fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2"),
                None,
            ),
            row(
                Some("vxlan100"),
                None,
                Some("flowlabel: vtep sends flow label 0"),
            ),
        ];

        let text = text(&rows);

        let body = text.strip_prefix(HEADING).unwrap();
        assert_eq!(
            body,
            "#\n\
             # To change over, with this as /etc/vtep/main.conf:\n\
             #   ip link del vxlan100\n\
             #   vtep run --config /etc/vtep/main.conf\n\
             \n\
             run --iface eth0\n\
             \n\
             # vxlan100\n\
             vni add 100\n\
             \x20 fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2\n\
             # - flowlabel: vtep sends flow label 0\n\
             #     ip link show\n"
        );
    }

    fn row(device: Option<&str>, command: Option<&str>, left_out: Option<&str>) -> ImportRow {
        let instead = left_out.map(|_| "ip link show".to_owned());
        ImportRow {
            device: device.map(str::to_owned),
            vni: None,
            command: command.map(str::to_owned),
            left_out: left_out.map(str::to_owned),
            instead: instead.into_iter().collect(),
        }
    }
}
