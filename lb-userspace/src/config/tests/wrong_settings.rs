//! What is refused of the syntax, `[daemon]`, `[limits]` and `[[interface]]`, in the exact words.
use super::{refusal, refusals};
