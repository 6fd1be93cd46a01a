//! The Internet checksum: in full (RFC 1071), and its change when a part of what it covers changes
//! (RFC 1624).

/// The sum of 16-bit words in one's complement arithmetic: what overflows is added at the low end. An
/// odd last byte is followed by a zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        [high] => u16::from_be_bytes([high, 0]),
        _ => 0,
    });
    words.fold(0, add)
}

/// The checksum of bytes whose own checksum field is zero.
pub fn full(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The checksum `check` after a part of what it covers changed from `before` to `after`, which have the
/// same, even length: `HC' = ~(~HC + ~m + m')`, RFC 1624 equation 3, for each word in turn.
///
/// A checksum that was wrong stays as wrong as it was.
pub fn changed(check: u16, before: &[u8], after: &[u8]) -> u16 {
    assert_eq!(before.len(), after.len(), "a part keeps its length");
    assert!(before.len().is_multiple_of(2), "a part consists of words");
    let words = before.chunks(2).zip(after.chunks(2));
    words.fold(check, |check, (m, m_new)| {
        let (m, m_new) = (sum(m), sum(m_new));
        !add(add(!check, !m), m_new)
    })
}

/// The same for UDP (RFC 768): 0 is no checksum and stays 0; one that comes out as 0 is sent as 0xffff.
pub fn changed_udp(check: u16, before: &[u8], after: &[u8]) -> u16 {
    if check == 0 {
        return 0;
    }
    match changed(check, before, after) {
        0 => 0xffff,
        check => check,
    }
}

fn add(a: u16, b: u16) -> u16 {
    let (sum, overflow) = a.overflowing_add(b);
    sum + u16::from(overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        // RFC 1071 section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0xddf2);
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x6834);
    }

    #[test]
    fn the_example_of_rfc_1624_comes_out() {
        // RFC 1624 section 4: a checksum 0xdd2f, a field that changes from 0x5555 to 0x3285.
        let check = changed(0xdd2f, &0x5555_u16.to_be_bytes(), &0x3285_u16.to_be_bytes());
        assert_eq!(check, 0x0000);
    }

    #[test]
    fn a_difference_is_what_the_full_sum_gives() {
        let mut bytes = *b"an even number of bytes!";
        let before = full(&bytes);
        let (old, new) = (*b"even", *b"EVEN");
        // From an even offset on, as every field of ours.
        bytes[4..8].copy_from_slice(&new);
        let mut whole = *b"an even number of bytes!";
        let old_part: [u8; 4] = whole[4..8].try_into().unwrap();
        assert_ne!(old_part, old);
        whole[4..8].copy_from_slice(&new);
        assert_eq!(changed(before, &old_part, &new), full(&whole));
    }

    #[test]
    fn udp_has_no_checksum_zero_unless_it_has_none() {
        assert_eq!(changed_udp(0, &[1, 2], &[3, 4]), 0);
        let to_zero = changed(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(to_zero, 0);
        assert_eq!(changed_udp(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0xffff);
    }

    #[test]
    fn an_error_is_kept() {
        let right = changed(0x1234, &[0xaa, 0xbb], &[1, 2]);
        let wrong = changed(0x1235, &[0xaa, 0xbb], &[1, 2]);
        assert_eq!(wrong, right + 1);
    }
}
