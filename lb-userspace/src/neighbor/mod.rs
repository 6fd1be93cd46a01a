//! Next hops, by netlink.
