//! What others have set at the interface of a port: queueing disciplines, filters, programs and chains.

use std::fmt;

/// What others have set at an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The kind of queueing discipline that somebody set at its root; `None` where it has what the kernel gives every interface.
    pub qdisc: Option<String>,
    /// What looks at frames to the port on the way through its queue.
    pub egress: Vec<Other>,
    /// What the kernel skips for frames that TC redirects: chains at netfilter's egress hook.
    pub skipped: Vec<Other>,
    /// What looks at frames from the port before vtep takes them at TC.
    pub first: Vec<Other>,
    /// What would look at them after that.
    pub behind: Vec<Other>,
}

impl Others {
    /// Whether frames to the port can be held back, changed or dropped in its queue.
    pub(crate) fn has_queue(&self) -> bool {
        self.qdisc.is_some() || !self.egress.is_empty()
    }
}

/// One thing that looks at frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Other {
    /// A filter of a clsact or ingress queueing discipline.
    Filter {
        /// Its kind, such as `flower`.
        kind: String,
        /// Its priority, which `tc` calls `pref`.
        priority: u16,
    },
    /// A program that is attached by tcx, by its number.
    Program(u32),
    /// A chain of nftables at netfilter's hook of the interface.
    Chain {
        /// The family of its table.
        family: &'static str,
        /// Its table.
        table: String,
        /// Its name.
        name: String,
    },
}

/// The way of the frames that something looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// From the port.
    Ingress,
    /// To the port.
    Egress,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl Other {
    /// What it is called in a sentence.
    pub(crate) fn at(&self, side: Side) -> String {
        match self {
            Self::Filter { kind, priority } => {
                format!("the {side} filter {kind} (pref {priority})")
            }
            Self::Program(number) => format!("the tcx {side} program {number}"),
            Self::Chain {
                family,
                table,
                name,
            } => format!("netfilter's {side} hook (nft chain {family} {table} {name})"),
        }
    }
}
