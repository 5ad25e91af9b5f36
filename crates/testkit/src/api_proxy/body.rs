//! Bodies that pass through, whole or cut.

use std::io;

use bytes::BytesMut;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;

use super::Body;

/// The body of the API server's answer as it arrives.
pub(super) fn stream(answer: reqwest::Response) -> Body {
    let frames = answer.bytes_stream().map_ok(Frame::data).map_err(io::Error::other);
    StreamBody::new(frames).boxed_unsync()
}

/// The same up to the middle of the object (one a line) after a number of whole ones; then the connection is lost.
pub(super) fn cut_after(body: Body, objects: usize) -> Body {
    struct Cut {
        frames: BodyStream<Body>,
        left: usize,
        over: bool,
    }
    let start = Cut { frames: BodyStream::new(body), left: objects, over: false };
    let cut = stream::unfold(start, |mut cut| async move {
        if cut.over {
            return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), cut));
        }
        let chunk = cut.frames.next().await?.ok()?.into_data().ok()?;
        let mut passed = BytesMut::new();
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            if cut.left == 0 {
                let half = line.get(..line.len() / 2).unwrap_or(line);
                passed.extend_from_slice(half);
                cut.over = true;
                break;
            }
            passed.extend_from_slice(line);
            cut.left -= usize::from(line.ends_with(b"\n"));
        }
        Some((Ok(Frame::data(passed.freeze())), cut))
    });
    StreamBody::new(cut).boxed_unsync()
}
