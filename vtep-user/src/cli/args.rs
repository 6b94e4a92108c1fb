//! Values that only the command line has.

/// Longest name of an instance.
const INSTANCE_MAX: usize = 32;

/// Reads the name of an instance, which becomes part of file names.
///
/// There is no dot: the BPF file system refuses directories with one.
pub(super) fn instance(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=INSTANCE_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.into())
    } else {
        Err(format!(
            "an instance name has 1 to {INSTANCE_MAX} letters, digits, `_` and `-`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_safe_as_part_of_a_path() {
        for good in ["main", "a", "Blue_2-x", &"x".repeat(32)] {
            assert_eq!(instance(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a.b", "a/b", "a b", "é", &"x".repeat(33)] {
            assert!(instance(bad).is_err(), "{bad}");
        }
    }
}
