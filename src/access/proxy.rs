//! Where a request comes from when proxies stand in front: their word is taken only from addresses that were named
//! with `--trust-proxy`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is one of these.
    pub fn has(self, address: IpAddr) -> bool {
        let differ = |own: u128, other: u128, width: u8| {
            let beyond = u32::from(width - self.bits);
            (own ^ other).checked_shr(beyond).is_some_and(|rest| rest != 0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => !differ(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => !differ(own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no address such as 10.0.0.5, and no network such as 10.0.0.0/8")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > width {
            return Err(wrong());
        }
        // An IPv4 address in the clothes of IPv6 is compared as what it is.
        match address.to_canonical() {
            canonical @ IpAddr::V4(_) if address.is_ipv6() => {
                let bits = bits.checked_sub(96).ok_or_else(wrong)?;
                Ok(Self { address: canonical, bits })
            }
            _ => Ok(Self { address, bits }),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<Network>);

impl Proxies {
    /// These.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether this is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// The client behind the connection's other end: where that is a trusted proxy, the right-most address in its
    /// headers that is none. Proxies write one of the two headers and may let the other through as the client sent it:
    /// where the two disagree, neither is taken.
    pub fn client<'h>(
        &self,
        peer: IpAddr,
        x_forwarded_for: impl Iterator<Item = &'h str>,
        forwarded: impl Iterator<Item = &'h str>,
    ) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.has(peer) {
            return peer;
        }
        let plain: Vec<_> = x_forwarded_for.flat_map(|line| line.split(',')).collect();
        let pairs = |hop: &'h str| {
            let value = hop.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
            });
            value.unwrap_or_default() // a hop that does not say is not looked beyond
        };
        let named: Vec<_> = forwarded.flat_map(|line| line.split(',')).map(pairs).collect();
        match (plain.is_empty(), named.is_empty()) {
            (true, true) => peer,
            (false, true) => self.beyond(peer, &plain),
            (true, false) => self.beyond(peer, &named),
            (false, false) => {
                let (one, other) = (self.beyond(peer, &plain), self.beyond(peer, &named));
                if one == other { one } else { peer }
            }
        }
    }

    /// The last of the hops that is no trusted proxy; a hop that cannot be read ends at the one who said it.
    fn beyond(&self, peer: IpAddr, hops: &[&str]) -> IpAddr {
        let mut last = peer;
        for hop in hops.iter().rev() {
            let Some(address) = address_of(hop.trim()) else { return last };
            if !self.has(address) {
                return address;
            }
            last = address;
        }
        last
    }
}

/// The address of a hop, which may carry a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let parsed = bare.unwrap_or(hop).parse().ok();
    parsed
        .or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn trusting(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|text| text.parse().expect("a network")).collect())
    }

    #[test]
    fn networks_have_what_begins_as_they_do() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("10.0.0.5", "::ffff:10.0.0.5", "10.0.0.6"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.has(ip(inside)) && !network.has(ip(outside)), "{network}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "here", "::/129", "10.0.0.1/-1", "10.0.0.1/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_trusted_proxys_word_is_taken_and_only_up_to_the_first_who_is_none() {
        let proxies = trusting(&["10.0.0.0/8", "127.0.0.1"]);
        let of = |peer: &str, plain: &[&'static str], named: &[&'static str]| {
            proxies.client(ip(peer), plain.iter().copied(), named.iter().copied()).to_string()
        };
        assert_eq!(of("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1", "anybody can write a header");
        assert_eq!(of("127.0.0.1", &[], &[]), "127.0.0.1");
        assert_eq!(of("127.0.0.1", &["1.1.1.1, 203.0.113.9, 10.1.1.1"], &[]), "203.0.113.9");
        assert_eq!(
            of("127.0.0.1", &["1.1.1.1", "203.0.113.9"], &[]),
            "203.0.113.9",
            "two lines are one list"
        );
        assert_eq!(of("127.0.0.1", &["203.0.113.9:4711"], &[]), "203.0.113.9");
        assert_eq!(of("127.0.0.1", &["203.0.113.9, unknown, 10.1.1.1"], &[]), "10.1.1.1");
        assert_eq!(of("127.0.0.1", &["10.2.2.2"], &[]), "10.2.2.2", "the proxies' own network");
        assert_eq!(
            of("127.0.0.1", &[], &["for=\"[2001:db8::1]:80\";proto=https, for=10.3.3.3"]),
            "2001:db8::1"
        );
        assert_eq!(of("127.0.0.1", &[], &["for=1.1.1.1, proto=https"]), "127.0.0.1");
        assert_eq!(of("127.0.0.1", &["203.0.113.9"], &["for=203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("127.0.0.1", &["203.0.113.9"], &["for=1.1.1.1"]), "127.0.0.1", "they disagree");
    }
}
