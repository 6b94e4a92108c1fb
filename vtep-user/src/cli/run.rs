//! `vtep run`

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::{command_line, config_file, grammar, log};
use crate::daemon::{self, ConfigSource, Options};
use crate::model::settings::run;
use crate::model::{BadValue, InstanceName, RunOption};

/// Where configuration files are looked for.
const DIRECTORY: &str = "/etc/vtep";

pub(super) fn run(typed: Vec<RunOption>, instance: InstanceName) -> Result<(), Failure> {
    let run = run::options(&typed, &[]).map_err(refused)?;
    let path = match run.config {
        Some(path) => Some(path),
        None if run.ifaces.is_empty() => default_path(&instance),
        None => None,
    };
    let config = path.map(|path| read(&path)).transpose()?;
    let file = config.as_ref().and_then(|(file, _)| file.as_ref());
    let options = file.map_or(&[][..], |run| &run.options);
    let run = run::options(options, &typed).map_err(refused)?;
    if run.ifaces.is_empty() {
        return Err(no_iface(config.as_ref().map(|(_, source)| &*source.path)));
    }
    log::start(instance.as_str())?;
    let options = Options {
        instance,
        run,
        typed,
        config: config.map(|(_, source)| source),
    };
    daemon::run(options).map_err(|error| Failure::Failed(error.into()))
}

fn refused(bad: BadValue) -> Failure {
    Failure::Failed(bad.into())
}

/// The file of an instance, where it exists.
fn default_path(instance: &InstanceName) -> Option<PathBuf> {
    let path = Path::new(DIRECTORY).join(format!("{}.conf", instance.as_str()));
    path.exists().then_some(path)
}

fn read(path: &Path) -> Result<(Option<crate::model::RunLine>, ConfigSource), Failure> {
    let file = config_file::read(path).map_err(Failure::refused)?;
    // It is read again later, wherever the daemon is by then.
    let path = fs::canonicalize(path)?;
    let source = ConfigSource {
        path,
        read: config_file::read,
        lines: file.lines,
    };
    Ok((file.run, source))
}

/// No interface towards the underlay was named.
fn no_iface(file: Option<&Path>) -> Failure {
    match file {
        Some(file) => Failure::refused(format!(
            "{} names no interface towards the underlay; begin it with: run --iface DEV",
            file.display()
        )),
        None => grammar::wrong_usage(
            command_line::whole(),
            &["run"],
            "the following required arguments were not provided: --iface <DEV>, or --config <FILE>",
        ),
    }
}
