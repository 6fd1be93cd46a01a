//! What is refused of `[[service]]`, in the exact words.
use super::{WEB, refusal, refusals};
