//! Trying a batch: its changes are made on a copy of the state, which is then thrown away.

use crate::control::record::{author::Author, facts::Links};
use crate::control::state::State;
use crate::model::{Op, Refusal};

impl State {
    /// Which changes of a batch would be refused, each with its line, where those that are refused are left out.
    #[must_use]
    pub fn try_batch(&self, batch: &[(u64, Op)], links: &dyn Links) -> Vec<Refusal> {
        let mut copy = self.clone();
        let refused = batch.iter().filter_map(|(line, op)| {
            let done = copy.apply_as(Author::CLI, op, links);
            done.err().map(|refusal| refusal.at_line(*line))
        });
        refused.collect()
    }
}
