//! The one task that owns the state.
