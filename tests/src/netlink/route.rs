//! Routes.

use std::net::IpAddr;

use anyhow::{Context, Result};
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAttribute, RouteMessage, RouteMetric},
};

use super::{link, with};

/// A route through a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    destination: IpAddr,
    prefix: u8,
    gateway: IpAddr,
    device: Option<&'a str>,
    segment: Option<u32>,
}

impl<'a> Route<'a> {
    /// To `destination`/`prefix` through `gateway`.
    pub const fn new(destination: IpAddr, prefix: u8, gateway: IpAddr) -> Self {
        Self {
            destination,
            prefix,
            gateway,
            device: None,
            segment: None,
        }
    }

    /// By this interface, whether or not the gateway is in a network of its.
    pub const fn by(mut self, device: &'a str) -> Self {
        self.device = Some(device);
        self
    }

    /// Whoever opens a TCP connection that is answered this way is told to send segments of at most
    /// so many bytes.
    pub const fn advertising(mut self, segment: u32) -> Self {
        self.segment = Some(segment);
        self
    }

    /// Adds it.
    pub fn add(&self) -> Result<()> {
        let message = self.message()?;
        with(async |handle| Ok(handle.route().add(message).execute().await?))
            .with_context(|| format!("adding a route {}", self.text()))
    }

    /// Puts it in the place of the one that is there.
    pub fn replace(&self) -> Result<()> {
        let message = self.message()?;
        with(async |handle| Ok(handle.route().add(message).replace().execute().await?))
            .with_context(|| format!("replacing the route {}", self.text()))
    }

    fn message(&self) -> Result<RouteMessage> {
        let Self {
            destination,
            prefix,
            gateway,
            device,
            segment,
        } = *self;
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, prefix)
            .and_then(|builder| builder.gateway(gateway))
            .context("composing a route")?;
        if let Some(device) = device {
            builder = builder.output_interface(link(device)?.index).onlink();
        }
        let mut message = builder.build();
        if let Some(segment) = segment {
            let metrics = vec![RouteMetric::Advmss(segment)];
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        Ok(message)
    }

    fn text(&self) -> String {
        let Self {
            destination,
            prefix,
            gateway,
            ..
        } = self;
        format!("to {destination}/{prefix} via {gateway}")
    }
}
