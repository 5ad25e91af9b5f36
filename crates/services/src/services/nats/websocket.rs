//! NATS inside a WebSocket: the same bytes, in binary frames that may be cut anywhere.

use std::{future::ready, io};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::connection::{LONGEST_LINE, Stream};
use crate::failure::{Reason, SendError};

/// Asks the server for a WebSocket; what is read from and written to the result is what frames hold.
pub(super) async fn open(stream: Box<dyn Stream>, authority: &str) -> Result<Box<dyn Stream>, SendError> {
    let request = format!("ws://{authority}/").into_client_request();
    let request = request.map_err(|error| SendError::misconfigured(format!("{authority}: {error}")))?;
    let limits =
        WebSocketConfig::default().max_message_size(Some(LONGEST_LINE)).max_frame_size(Some(LONGEST_LINE));
    let (socket, _) = client_async_with_config(request, stream, Some(limits)).await.map_err(refused)?;
    let (sink, frames) = socket.split();
    let bytes = frames.filter_map(|frame| {
        ready(match frame {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(text)) => Some(Ok(Bytes::from(text))),
            // The library answers pings itself; after a close frame there is nothing more.
            Ok(_) => None,
            Err(error) => Some(Err(broken(error))),
        })
    });
    let sink =
        sink.sink_map_err(broken).with(|bytes: Bytes| ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    let writer = SinkWriter::new(CopyToBytes::new(sink));
    Ok(Box::new(tokio::io::join(Box::pin(StreamReader::new(bytes)), Box::pin(writer))))
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionReset.into(),
        error => io::Error::other(error),
    }
}

fn refused(error: Error) -> SendError {
    match error {
        Error::Io(error) => super::connection::broken(&error),
        Error::Http(answer) => {
            let (status, what) =
                (answer.status(), "the server of `url` answers, but not with a WebSocket of NATS");
            let reason = if status.is_server_error() { Reason::ServerError } else { Reason::BadAnswer };
            SendError::new(reason, format!("{what}: status {status}"))
        }
        error => SendError::new(Reason::BadAnswer, format!("no WebSocket of NATS: {error}")),
    }
}
