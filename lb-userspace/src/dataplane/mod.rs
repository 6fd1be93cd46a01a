//! The only module that touches aya.
