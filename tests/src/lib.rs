//! Sluice's testbed: hosts as network namespaces on veth, and what runs in them.
//!
//! Everything is a guard: dropping it removes it. What a killed run leaves, the next one sweeps.
//! [`topology`] is the network of the playground and of the system tests, [`daemon`] the real
//! `sluice run` in it; the rest is what those two are made of.

pub mod baseline;
pub mod capture;
pub mod cli;
pub mod config;
pub mod costs;
pub mod counts;
pub mod daemon;
pub mod decap;
pub mod differential;
pub mod echo;
pub mod ethtool;
pub mod held;
pub mod host;
pub mod http;
pub mod icmp;
pub mod kernel_tunnels;
pub mod listening;
pub mod load;
pub mod mode;
pub mod model;
pub mod netlink;
pub mod netns;
pub mod ordinary;
pub mod packet_socket;
pub mod packets;
pub mod pinned;
pub mod poll;
pub mod process;
pub mod programs;
pub mod scapy;
pub mod server;
pub mod several;
pub mod site;
pub mod small_disk;
pub mod status;
pub mod stream;
pub mod sweep;
pub mod tagged;
pub mod tagged_ways;
pub mod talkers;
pub mod test_run;
pub mod topology;
pub mod transfer;
pub mod tunnel_end;
pub mod udp;
pub mod ways;
pub mod xdp;
