//! Maglev's tables have a prime size, so that every step width visits every slot (NSDI'16,
//! section 3.4).

/// Whether `n` is a prime. Quick up to the largest table: 4096 divisions.
pub(super) fn is_prime(n: u32) -> bool {
    match n {
        0 | 1 => false,
        2 | 3 => true,
        _ if n.is_multiple_of(2) => false,
        _ => {
            let mut divisor = 3;
            while divisor <= n / divisor {
                if n.is_multiple_of(divisor) {
                    return false;
                }
                divisor += 2;
            }
            true
        }
    }
}

/// The primes next to `n`, which is none itself: below, where there is one, and above, up to `most`.
pub(super) fn neighbours(n: u32, most: u32) -> Vec<u32> {
    let below = (2..n).rev().find(|m| is_prime(*m));
    let above = (n.saturating_add(1)..=most).find(|m| is_prime(*m));
    below.into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_composites() {
        let primes: Vec<_> = (0..60).filter(|n| is_prime(*n)).collect();
        assert_eq!(
            primes,
            [
                2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59
            ]
        );
        assert!(is_prime(16_381));
        assert!(is_prime(65_537));
        assert!(!is_prime(8191 * 8179), "a product of two large primes");
        assert!(is_prime(4_294_967_291), "the largest of 32 bits");
    }

    #[test]
    fn neighbours_are_the_nearest_primes_on_both_sides() {
        assert_eq!(neighbours(16_380, 1 << 26), [16_369, 16_381]);
        assert_eq!(neighbours(1, 1 << 26), [2]);
        assert_eq!(neighbours(1 << 26, 1 << 26), [67_108_859]);
    }
}
