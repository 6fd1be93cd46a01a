//! Prefixes: addresses that share their first bits.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::config::quote;

/// Addresses that share their first bits; the bits behind them are zero here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is no prefix: why not, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPrefix(String);

impl Prefix {
    /// The prefix of `length` bits that `address` is in. `None`: an address has not that many.
    pub const fn new(address: IpAddr, length: u8) -> Option<Self> {
        if length > bits(address) {
            return None;
        }
        let address = match address {
            IpAddr::V4(v4) => {
                let behind = u32::MAX.unbounded_shr(length as u32);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !behind))
            }
            IpAddr::V6(v6) => {
                let behind = u128::MAX.unbounded_shr(length as u32);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !behind))
            }
        };
        Some(Self { address, length })
    }

    /// The first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are shared.
    pub const fn length(self) -> u8 {
        self.length
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    /// Reads `ADDRESS` or `ADDRESS/LENGTH`; what the address has behind the prefix is cut off, so that an
    /// interface's or a tunnel source's own way of writing serves, too.
    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NoPrefix(format!(
                "{} is no address, write one as in 10.0.0.1, 10.0.0.0/24 or fd00::/64",
                quote(text)
            )));
        };
        if let IpAddr::V6(v6) = address
            && let Some(mapped) = v6.to_ipv4_mapped()
        {
            return Err(NoPrefix(format!(
                "{} is an IPv4-mapped address, write {mapped}",
                quote(text)
            )));
        }
        let most = bits(address);
        let length = length.map_or(Ok(most), str::parse);
        length
            .ok()
            .and_then(|length| Self::new(address, length))
            .ok_or_else(|| {
                NoPrefix(format!(
                    "{} is no prefix, its length is a number from 0 to {most}",
                    quote(text)
                ))
            })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, length } = *self;
        if length == bits(address) {
            return address.fmt(f);
        }
        write!(f, "{address}/{length}")
    }
}

/// Bits of an address.
const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let prefix = text.parse::<Prefix>();
        prefix.map(|p| p.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn an_address_is_a_prefix_of_its_own() {
        for text in ["10.0.0.1", "fd00:64::1", "10.0.0.0/24", "fd00::/64", "::/0"] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        assert_eq!(read("10.0.0.1/32").as_deref(), Ok("10.0.0.1"));
        assert_eq!(read("::1/128").as_deref(), Ok("::1"));
    }

    #[test]
    fn what_stands_behind_the_prefix_is_cut_off() {
        assert_eq!(read("10.64.3.1/16").as_deref(), Ok("10.64.0.0/16"));
        assert_eq!(read("fd00:64::1:2/64").as_deref(), Ok("fd00:64::/64"));
        assert_eq!(read("192.0.2.1/0").as_deref(), Ok("0.0.0.0/0"));
        assert_eq!(read("10.0.0.255/31").as_deref(), Ok("10.0.0.254/31"));
    }

    #[test]
    fn what_is_no_prefix_says_why() {
        for (text, words) in [
            ("", "no address"),
            ("lb1", "`lb1` is no address"),
            ("10.0.0/24", "no address"),
            ("[::1]", "no address"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("fd00::/129", "from 0 to 128"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/255.0.0.0", "from 0 to 32"),
            ("::ffff:10.0.0.1", "write 10.0.0.1"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
