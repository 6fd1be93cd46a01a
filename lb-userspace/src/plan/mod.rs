//! Plans: what to write into the maps, in which order.
