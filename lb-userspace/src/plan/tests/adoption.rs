//! Maps of a daemon that died.
