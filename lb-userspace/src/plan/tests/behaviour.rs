//! One change at a time.
