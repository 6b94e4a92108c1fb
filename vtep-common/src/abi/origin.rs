//! Who made an FDB entry, and whose word counts more.

/// Who made an FDB entry, in order of precedence: what comes later stands above what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A frame.
    Learned,
    /// A control plane that knows where the MAC is, as `extern_learn` says of entries of the kernel's FDB. Nothing makes such
    /// entries yet.
    ///
    /// It does not age: who made the entry takes it away. A frame with its MAC from another place goes on. From a VTEP it teaches
    /// nothing. From a local port it does: the MAC has come here, which the control plane is then told (RFC 7432 section 15).
    External,
    /// The user. Frames from elsewhere with this source are dropped.
    Static,
}

impl Origin {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 3] = [Self::Learned, Self::External, Self::Static];

    /// The code in the maps.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        match self {
            Self::Static => 1,
            Self::Learned => 2,
            Self::External => 3,
        }
    }

    /// From its code; `None` for one that means nothing.
    #[must_use]
    #[inline(always)]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Static),
            2 => Some(Self::Learned),
            3 => Some(Self::External),
            _ => None,
        }
    }

    /// True if an entry goes when no frame from its MAC was seen for long: it has a stamp, which traffic refreshes.
    #[must_use]
    #[inline(always)]
    pub const fn ages(self) -> bool {
        matches!(self, Self::Learned)
    }

    /// True if the user made the entry: what the user made, the user alone changes.
    #[must_use]
    #[inline(always)]
    pub const fn is_static(self) -> bool {
        matches!(self, Self::Static)
    }

    /// A bit for each origin that ages, at its code.
    #[must_use]
    pub(super) const fn mask_of_ageing() -> u16 {
        let [one, two, three] = Self::ALL;
        one.bit(one.ages()) | two.bit(two.ages()) | three.bit(three.ages())
    }

    /// A bit for each code, none set but of those origins that entries of this one may not take the place of: see
    /// [`may_replace`](Self::may_replace).
    #[must_use]
    pub(super) const fn mask_of_kept(self, at_port: bool) -> u16 {
        let [one, two, three] = Self::ALL;
        one.bit(!self.may_replace(one, at_port))
            | two.bit(!self.may_replace(two, at_port))
            | three.bit(!self.may_replace(three, at_port))
    }

    /// The bit at its code, if it is set.
    const fn bit(self, set: bool) -> u16 {
        (set as u16) << self.code()
    }

    /// True if an entry of this origin may take the place of one of the origin `old` that points elsewhere. What stands as high or
    /// higher may. `at_port` says that the new one is at a local port: there what was learned replaces an external entry too.
    #[must_use]
    #[inline(always)]
    pub const fn may_replace(self, old: Self, at_port: bool) -> bool {
        match old {
            Self::Learned => true,
            Self::External => at_port || !self.ages(),
            Self::Static => self.is_static(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_precedence() {
        assert!(Origin::Learned < Origin::External && Origin::External < Origin::Static);
        for old in Origin::ALL {
            for new in Origin::ALL {
                assert_eq!(new.may_replace(old, false), new >= old, "{old:?} {new:?}");
            }
        }
    }

    #[test]
    fn a_local_port_beats_an_external_entry_by_being_newer_but_no_static_one() {
        assert!(Origin::Learned.may_replace(Origin::External, true));
        assert!(!Origin::Learned.may_replace(Origin::Static, true));
        assert!(!Origin::External.may_replace(Origin::Static, true));
    }

    #[test]
    fn only_what_was_learned_ages() {
        assert_eq!(Origin::ALL.map(Origin::ages), [true, false, false]);
    }

    #[test]
    fn a_code_names_its_origin() {
        for origin in Origin::ALL {
            assert_eq!(Origin::from_code(origin.code()), Some(origin));
        }
        assert_eq!((Origin::from_code(0), Origin::from_code(4)), (None, None));
    }
}
