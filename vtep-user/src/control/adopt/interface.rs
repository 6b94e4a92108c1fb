//! Which interface was the port: its number alone does not say, because another one may have it by now.

use std::collections::HashMap;

use vtep_common::abi::id::Ifindex;

use crate::control::record::facts::LinkFacts;

/// What is known of a port's interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// The number that it had.
    pub(super) ifindex: Ifindex,
    /// The name that it had; `None` where an earlier build has made the pins.
    pub(super) name: Option<&'a str>,
    /// Whether the interface that has its number is the one that it was. The kernel knows as long as a program is attached.
    pub(super) attached: Option<bool>,
}

impl Known<'_> {
    /// The interface, of those that exist now, if it is one of them; or a clause that says why not.
    ///
    /// It may have another name by now, where the kernel knows it. It may be another one by the old name, whatever its number: then it
    /// is the port, as if it had been named again.
    pub(super) fn find<'a>(
        &self,
        links: &'a HashMap<Ifindex, LinkFacts>,
    ) -> Result<&'a LinkFacts, String> {
        let named = match self.name {
            Some(name) => format!("{name} (number {})", self.ifindex),
            None => format!("(number {})", self.ifindex),
        };
        let mut others = links.values();
        let anew = others.find(|facts| Some(&*facts.name) == self.name);
        let Some(facts) = links.get(&self.ifindex) else {
            if let Some(facts) = anew {
                return Ok(facts);
            }
            return Err(format!("its interface {named} is gone"));
        };
        let is_it = match (self.name, self.attached) {
            (Some(name), _) if name == facts.name => true,
            (_, Some(attached)) => attached,
            (Some(_), None) => false,
            (None, None) => true,
        };
        if is_it {
            return Ok(facts);
        }
        if let Some(facts) = anew {
            return Ok(facts);
        }
        Err(format!(
            "its interface {named} is gone, and {} has that number now",
            facts.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::record::others::Others;

    /// What is found by a port's old name, and what the kernel knows, where tap0 has the number.
    fn find(name: Option<&str>, attached: Option<bool>) -> Result<String, String> {
        let ifindex = Ifindex::new(7);
        let tap0 = LinkFacts {
            ifindex,
            name: "tap0".to_owned(),
            mtu: 1_500,
            xdp_target: false,
            other_end: None,
            others: Others::default(),
        };
        let known = Known {
            ifindex,
            name,
            attached,
        };
        let links = HashMap::from([(ifindex, tap0)]);
        known.find(&links).map(|facts| facts.name.clone())
    }

    #[test]
    fn an_interface_is_known_again_by_its_name() {
        for attached in [None, Some(false), Some(true)] {
            assert_eq!(find(Some("tap0"), attached), Ok("tap0".into()));
        }
    }

    #[test]
    fn one_that_was_renamed_is_known_while_a_program_is_attached() {
        assert_eq!(find(Some("old0"), Some(true)), Ok("tap0".into()));
    }

    #[test]
    fn another_one_with_the_number_is_not_it() {
        for attached in [None, Some(false)] {
            let why = "its interface old0 (number 7) is gone, and tap0 has that number now";
            assert_eq!(find(Some("old0"), attached), Err(why.into()));
        }
    }

    #[test]
    fn one_that_was_made_anew_is_known_by_its_name_whatever_its_number() {
        let facts = |ifindex, name: &str| LinkFacts {
            ifindex: Ifindex::new(ifindex),
            name: name.to_owned(),
            mtu: 1_500,
            xdp_target: false,
            other_end: None,
            others: Others::default(),
        };
        let known = Known {
            ifindex: Ifindex::new(7),
            name: Some("tap0"),
            attached: Some(false),
        };
        for others in [vec![], vec![facts(7, "mgmt0")]] {
            let links = others.into_iter().chain([facts(9, "tap0")]);
            let links = links.map(|facts| (facts.ifindex, facts)).collect();
            assert_eq!(known.find(&links).unwrap().ifindex, Ifindex::new(9));
        }
    }

    #[test]
    fn pins_without_names_are_taken_unless_the_kernel_knows_better() {
        for attached in [None, Some(true)] {
            assert_eq!(find(None, attached), Ok("tap0".into()));
        }
        let why = "its interface (number 7) is gone, and tap0 has that number now";
        assert_eq!(find(None, Some(false)), Err(why.into()));
    }

    #[test]
    fn one_that_is_gone_is_called_by_its_name() {
        let known = Known {
            ifindex: Ifindex::new(7),
            name: Some("tap0"),
            attached: Some(false),
        };
        let why = "its interface tap0 (number 7) is gone";
        assert_eq!(known.find(&HashMap::new()), Err(why.into()));
    }
}
