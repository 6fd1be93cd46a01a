//! The cursor: reads headers one after the other and hands each out once.

use core::marker::PhantomData;

use network_types::ip::Ipv4Hdr;

use crate::verifier::forget;

/// A type that may be laid over packet bytes.
///
/// # Safety
///
/// Implementors have an alignment of 1, no padding, and every bit pattern is a value.
pub unsafe trait Header: Sized {
    /// Fails to compile where the alignment is not 1.
    const ALIGNED: () = assert!(align_of::<Self>() == 1);
}

// SAFETY: bytes and arrays of bytes only.
unsafe impl Header for Ipv4Hdr {}

/// The packet ends before the header does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// How far ahead of a cursor something stands, at most [`Ahead::MOST`] bytes. The verifier knows no more
/// of it than that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead(u32);

impl Ahead {
    /// The farthest; all bits of a mask.
    pub const MOST: u32 = 0x3fff;

    /// So many bytes, modulo [`Self::MOST`] and one.
    #[inline(always)]
    pub const fn by(bytes: u32) -> Self {
        Self(bytes & Self::MOST)
    }

    /// So much farther, modulo [`Self::MOST`] and one; `any` is for [`forget`].
    #[inline(always)]
    #[must_use]
    pub fn plus(self, bytes: u32, any: u8) -> Self {
        Self(forget(self.0 + bytes, any) & Self::MOST)
    }
}

/// A position in a packet and the packet's end.
///
/// What it has handed out it never hands out again, so the headers are disjoint and may be written.
#[derive(Debug)]
pub struct Cursor<'a> {
    position: *mut u8,
    end: *mut u8,
    packet: PhantomData<&'a mut [u8]>,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of a packet in user space.
    pub fn new(packet: &'a mut [u8]) -> Self {
        let range = packet.as_mut_ptr_range();
        Self {
            position: range.start,
            end: range.end,
            packet: PhantomData,
        }
    }

    /// A cursor over the bytes from `start` up to `end`.
    ///
    /// # Safety
    ///
    /// The bytes are readable and writable for `'a`, and nothing else refers to them.
    #[inline(always)]
    pub const unsafe fn from_raw(start: *mut u8, end: *mut u8) -> Self {
        Self {
            position: start,
            end,
            packet: PhantomData,
        }
    }

    /// Takes the next header.
    ///
    /// # Errors
    ///
    /// [`Truncated`] where the packet ends before it; the cursor has then not moved.
    #[inline(always)]
    pub fn read<T: Header>(&mut self) -> Result<&'a mut T, Truncated> {
        let () = T::ALIGNED;
        let here = self.position;
        let next = here.wrapping_add(size_of::<T>());
        if next > self.end {
            return Err(Truncated);
        }
        self.position = next;
        // SAFETY: `here..next` lies inside the packet (checked), is exclusively ours for 'a
        // (contract of the constructors), and is never handed out again, since the position only
        // moves forward. `Header` allows any bytes at any address.
        Ok(unsafe { &mut *here.cast::<T>() })
    }

    /// Looks at a header ahead and takes nothing.
    ///
    /// # Errors
    /// [`Truncated`] where the packet ends before it does.
    #[inline(always)]
    pub fn peek<T: Header>(&self, ahead: Ahead) -> Result<&T, Truncated> {
        let () = T::ALIGNED;
        let here = self.position.wrapping_add(ahead.0 as usize);
        if here.wrapping_add(size_of::<T>()) > self.end {
            return Err(Truncated);
        }
        // SAFETY: it lies inside the packet (checked) and behind all that was handed out; `self` is
        // borrowed for as long. `Header` allows any bytes at any address.
        Ok(unsafe { &*here.cast::<T>() })
    }

    /// Passes over what is ahead.
    ///
    /// # Errors
    /// [`Truncated`] where the packet ends before; the cursor has then not moved.
    #[inline(always)]
    pub fn advance(&mut self, ahead: Ahead) -> Result<(), Truncated> {
        let next = self.position.wrapping_add(ahead.0 as usize);
        if next > self.end {
            return Err(Truncated);
        }
        self.position = next;
        Ok(())
    }

    /// Whether at least `count` bytes are left.
    ///
    /// Compares pointers and does not subtract them: the verifier lets only programs with
    /// `CAP_PERFMON` do that.
    #[inline(always)]
    pub fn has(&self, count: u16) -> bool {
        self.position.wrapping_add(count as usize) <= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_handed_out_once() {
        let mut bytes = [0_u8; 45];
        let mut cursor = Cursor::new(&mut bytes);
        let first = cursor.read::<Ipv4Hdr>().unwrap();
        let second = cursor.read::<Ipv4Hdr>().unwrap();
        first.ttl = 1;
        second.ttl = 2;
        assert!(cursor.has(5) && !cursor.has(6));
        assert_eq!(cursor.read::<Ipv4Hdr>().err(), Some(Truncated));
        assert_eq!((bytes[8], bytes[28]), (1, 2));
    }

    #[test]
    fn what_is_ahead_is_looked_at_and_passed_over() {
        let mut bytes: [u8; 45] = core::array::from_fn(|at| at as u8);
        let mut cursor = Cursor::new(&mut bytes);
        let ahead = Ahead::default().plus(24, 0);
        assert_eq!(cursor.peek::<Ipv4Hdr>(ahead).unwrap().vihl, 24);
        cursor.advance(ahead).unwrap();
        assert!(cursor.has(21) && !cursor.has(22));
        assert_eq!(cursor.peek::<Ipv4Hdr>(ahead).err(), Some(Truncated));
        assert_eq!(cursor.advance(ahead).err(), Some(Truncated));
        assert!(cursor.has(21), "it has not moved");
    }
}
