//! The rows, as they are made one after the other.

use crate::model::{ImportRow, Op, Vni, write};

/// What is left out, and what to type for it.
pub(super) type LeftOut = (String, Vec<String>);

/// The rows so far, and what the next ones are about.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The rows.
    pub(super) all: Vec<ImportRow>,
    device: Option<String>,
    vni: Option<Vni>,
}

impl Rows {
    /// What follows is about this vxlan device.
    pub(super) fn of_device(&mut self, device: &str) {
        self.device = Some(device.to_owned());
        self.vni = None;
    }

    /// What follows is about this VNI.
    pub(super) const fn of_vni(&mut self, vni: Option<Vni>) {
        self.vni = vni;
    }

    /// A line of the configuration.
    pub(super) fn command(&mut self, op: &Op) {
        self.line(write::command(op));
    }

    /// The same, as it is written.
    pub(super) fn line(&mut self, command: String) {
        self.push(ImportRow {
            command: Some(command),
            ..ImportRow::default()
        });
    }

    /// Something that is left out, with what to type for it.
    pub(super) fn left_out(
        &mut self,
        what: impl Into<String>,
        instead: impl IntoIterator<Item = String>,
    ) {
        self.push(ImportRow {
            left_out: Some(what.into()),
            instead: instead.into_iter().collect(),
            ..ImportRow::default()
        });
    }

    fn push(&mut self, row: ImportRow) {
        self.all.push(ImportRow {
            device: self.device.clone(),
            vni: self.vni,
            ..row
        });
    }
}
