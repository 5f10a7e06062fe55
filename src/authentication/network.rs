//! The server's resolver, as the checks ask it.

use super::{Dns, Unavailable};
use crate::net::dns::{Answer, DnsError, Resolver};
use std::net::IpAddr;

impl Dns for Resolver {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Unavailable> {
        records(Resolver::txt(self, name).await)
    }

    async fn addresses(&self, name: &str, six: bool) -> Result<Vec<IpAddr>, Unavailable> {
        Ok(match six {
            true => {
                let found = records(self.ipv6(name).await)?;
                found.into_iter().map(IpAddr::V6).collect()
            }
            false => {
                let found = records(self.ipv4(name).await)?;
                found.into_iter().map(IpAddr::V4).collect()
            }
        })
    }

    async fn mx(&self, name: &str) -> Result<Vec<String>, Unavailable> {
        let mut found = records(Resolver::mx(self, name).await)?;
        found.sort_unstable_by_key(|it| it.preference);
        Ok(found.into_iter().map(|it| it.exchange).collect())
    }

    async fn names(&self, address: IpAddr) -> Result<Vec<String>, Unavailable> {
        records(self.ptr(address).await)
    }
}

fn records<T>(answer: Result<Answer<T>, DnsError>) -> Result<Vec<T>, Unavailable> {
    match answer {
        Ok(answer) => Ok(answer.records),
        Err(DnsError::NoName | DnsError::NoData) => Ok(Vec::new()),
        Err(DnsError::Temporary(_)) => Err(Unavailable),
    }
}
