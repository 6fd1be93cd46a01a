//! Frames that lie in several buffers, of which the parser sees the first.

use super::{
    chain::{Chain, DESTINATION},
    *,
};

/// Reads a frame whose first buffer has the first `seen` bytes.
fn seen<F: Family>(whole: &[u8], seen: usize) -> Result<(), Unparsed> {
    let accept = Accept {
        frame_length: Some(whole.len() as u32),
        ..EVERYTHING
    };
    read_with::<F>(&mut whole[..seen].to_vec(), accept).map(|_| ())
}

fn needs<F: Family>(whole: &[u8], headers: usize) {
    for length in IP..headers {
        assert_eq!(
            seen::<F>(whole, length),
            Err(Unparsed::Malformed),
            "{length}"
        );
    }
    for length in headers..=whole.len() {
        assert_eq!(seen::<F>(whole, length), Ok(()), "{length}");
    }
}

#[test]
fn the_first_buffer_has_to_have_the_headers_and_nothing_more() {
    needs::<V4>(&syn_v4(&[7; 1000]), IP + 20 + 20);
    needs::<V6>(&syn_v6(&[7; 1000]), IP + 40 + 20);
    let chain = Chain::new().extension(DESTINATION, 3);
    needs::<V6>(&chain.datagram(200).frame(), IP + 40 + 24 + 8);
}

#[test]
fn the_whole_frames_length_is_what_a_header_is_measured_by() {
    for (frame, at) in [(syn_v4(&[7; 100]), IP + 3), (syn_v6(&[7; 100]), IP + 5)] {
        let whole = frame.len() as u32;
        for (longer, expected) in [(0, Ok(())), (1, Err(Unparsed::Malformed))] {
            let mut frame = frame.clone();
            frame[at] += longer;
            for padding in 0..3 {
                let accept = Accept {
                    frame_length: Some(whole + padding),
                    ..EVERYTHING
                };
                let read = match at {
                    17 => read_with::<V4>(&mut frame, accept).map(|_| ()),
                    _ => read_with::<V6>(&mut frame, accept).map(|_| ()),
                };
                let expected = if padding == 0 { expected } else { Ok(()) };
                assert_eq!(read, expected, "longer by {longer}, {padding} padding");
            }
        }
    }
}

#[test]
fn the_longest_packets_fit() {
    let jumbo = |frame: &mut Vec<u8>, at: usize, headers: usize| {
        frame[at..at + 2].fill(0xff);
        frame.resize(IP + headers + 0xffff, 0);
    };
    let mut frame = syn_v4(&[]);
    jumbo(&mut frame, IP + 2, 0);
    assert_eq!(seen::<V4>(&frame, 100), Ok(()));
    frame.pop();
    assert_eq!(seen::<V4>(&frame, 100), Err(Unparsed::Malformed));
    let mut frame = syn_v6(&[]);
    jumbo(&mut frame, IP + 4, 40);
    assert_eq!(seen::<V6>(&frame, 100), Ok(()));
    frame.pop();
    assert_eq!(seen::<V6>(&frame, 100), Err(Unparsed::Malformed));
}
