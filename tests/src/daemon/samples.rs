//! What stands in the metrics.

/// The sum of a family over the samples that have all of these labels.
///
/// # Panics
///
/// If the value of one is no whole number.
#[must_use]
pub fn sum(metrics: &str, family: &str, labels: &[&str]) -> u64 {
    let samples = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let wanted = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    let values = wanted.map(|line| line.rsplit_once(' ').expect("a number").1);
    values
        .map(|value| value.parse::<u64>().expect("a number"))
        .sum()
}
