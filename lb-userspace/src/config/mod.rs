//! Configuration: text to a typed model, and all validation.
