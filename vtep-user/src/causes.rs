//! An error in one sentence.

use std::error::Error;

/// What an error says, and what its causes say, each once: some errors say theirs themselves, and of aya's the causes are the telling
/// ones (the errno, the verifier's log).
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum AttachFailure {
        #[error("attach xdp_uplink to eth0")]
        Silent(#[source] io::Error),
        #[error("attach xdp_uplink to eth0: {0}")]
        Telling(#[source] io::Error),
    }

    #[test]
    fn each_cause_is_said_once() {
        for error in [AttachFailure::Silent, AttachFailure::Telling] {
            let error = error(io::Error::other("no memory"));

            assert_eq!(with_causes(&error), "attach xdp_uplink to eth0: no memory");
        }
    }
}
