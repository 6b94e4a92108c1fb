//! How an instance is named on the command line.

/// The option that names `instance`, with a space before it; nothing for the one that is meant without it.
pub(crate) fn option(instance: &str) -> String {
    if instance == "main" {
        String::new()
    } else {
        format!(" --instance {instance}")
    }
}
