//! Explicit congestion notification (RFC 3168), and what becomes of it at the end of a tunnel (RFC 6040).

/// The two lower bits of IPv4's type of service and IPv6's traffic class.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ecn(u8);

impl Ecn {
    /// The ends of the transport do not understand congestion marks.
    pub const NOT_ECT: Self = Self(0b00);
    /// They do.
    pub const ECT_1: Self = Self(0b01);
    /// They do.
    pub const ECT_0: Self = Self(0b10);
    /// Congestion experienced.
    pub const CE: Self = Self(0b11);

    /// The field's bits in a type of service or traffic class.
    pub const MASK: u8 = 0b11;

    /// Out of a type of service or traffic class.
    #[inline(always)]
    pub const fn of(traffic_class: u8) -> Self {
        Self(traffic_class & Self::MASK)
    }

    /// The same type of service or traffic class with this field.
    #[inline(always)]
    pub const fn within(self, traffic_class: u8) -> u8 {
        traffic_class & !Self::MASK | self.0
    }

    /// What the inner header gets when the outer one is taken off (RFC 6040, section 4.2, figure 4, normal
    /// mode); `self` is the inner header's. `None`: the packet is dropped.
    #[inline(always)]
    pub const fn decapsulated(self, outer: Self) -> Option<Self> {
        match (self, outer) {
            (Self::NOT_ECT, Self::CE) => None,
            (Self::ECT_0 | Self::ECT_1, Self::CE) => Some(Self::CE),
            (Self::ECT_0, Self::ECT_1) => Some(Self::ECT_1),
            (inner, _) => Some(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc_6040_holds() {
        const N: Ecn = Ecn::NOT_ECT;
        const A: Ecn = Ecn::ECT_0;
        const B: Ecn = Ecn::ECT_1;
        const C: Ecn = Ecn::CE;
        // Rows: the inner field; columns: the outer one, as in figure 4.
        let outer = [N, A, B, C];
        for (inner, row) in [
            (N, [Some(N), Some(N), Some(N), None]),
            (A, [Some(A), Some(A), Some(B), Some(C)]),
            (B, [Some(B), Some(B), Some(B), Some(C)]),
            (C, [Some(C), Some(C), Some(C), Some(C)]),
        ] {
            for (outer, expected) in outer.into_iter().zip(row) {
                assert_eq!(
                    inner.decapsulated(outer),
                    expected,
                    "{inner:?} in {outer:?}"
                );
            }
        }
    }

    #[test]
    fn the_rest_of_the_traffic_class_stays() {
        assert_eq!(Ecn::CE.within(0b1010_1010), 0b1010_1011);
        assert_eq!(Ecn::of(0b1010_1010), Ecn::ECT_0);
        assert_eq!(Ecn::NOT_ECT.within(0xff), 0xfc);
    }
}
