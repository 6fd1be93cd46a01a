//! What is done to a frame that was right.

/// A change of a frame's bytes. What lies behind the frame's end does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Bits of one byte are flipped.
    Flip {
        /// Which byte.
        at: usize,
        /// Which bits.
        bits: u8,
    },
    /// Two bytes get another value.
    Word {
        /// Where.
        at: usize,
        /// What.
        value: u16,
    },
    /// The frame ends early, but not within its Ethernet header.
    Cut(usize),
    /// Bytes follow.
    Pad(usize),
    /// Bytes are put in.
    Insert {
        /// Where.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// Bytes are taken out.
    Remove {
        /// Where.
        at: usize,
        /// How many.
        count: usize,
    },
}

/// The kernel runs no program on less.
const FRAME_MIN: usize = 14;

impl Mutation {
    /// Changes a frame.
    pub fn apply(&self, frame: &mut Vec<u8>) {
        match self {
            Self::Flip { at, bits } => {
                if let Some(byte) = frame.get_mut(*at) {
                    *byte ^= bits;
                }
            }
            Self::Word { at, value } => {
                if let Some(word) = frame.get_mut(*at..at + 2) {
                    word.copy_from_slice(&value.to_be_bytes());
                }
            }
            Self::Cut(length) => frame.truncate((*length).max(FRAME_MIN)),
            Self::Pad(count) => frame.resize(frame.len() + count, 0xdd),
            Self::Insert { at, bytes } => {
                let at = (*at).min(frame.len());
                frame.splice(at..at, bytes.iter().copied());
            }
            Self::Remove { at, count } => {
                let end = (at + count).min(frame.len());
                if *at < end && frame.len() - (end - at) >= FRAME_MIN {
                    frame.drain(*at..end);
                }
            }
        }
    }
}
