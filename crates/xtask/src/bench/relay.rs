//! A relay of TCP connections that counts the bytes which come back.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Before the API server, while nothing is timed.
pub(crate) struct Relay {
    port: u16,
    bytes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts one before an address such as `https://127.0.0.1:6443`.
    pub(crate) async fn start(url: &str) -> Result<Relay> {
        let target = url.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let bytes = Arc::new(AtomicU64::new(0));
        let count = bytes.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, count) = (target.clone(), count.clone());
                tokio::spawn(async move {
                    // Either side may end it at any time.
                    let _ = carry(near, &target, &count).await;
                });
            }
        });
        Ok(Relay { port, bytes, task })
    }

    /// Its own address.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The bytes that came from the API server, with those of TLS.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, target: &str, count: &AtomicU64) -> std::io::Result<()> {
    let far = TcpStream::connect(target).await?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = from_far.read(&mut buffer).await?;
            if read == 0 {
                return to_near.shutdown().await;
            }
            count.fetch_add(read as u64, Ordering::Relaxed);
            to_near.write_all(buffer.get(..read).unwrap_or_default()).await?;
        }
    };
    let forth = async {
        tokio::io::copy(&mut from_near, &mut to_far).await?;
        to_far.shutdown().await
    };
    tokio::try_join!(back, forth).map(drop)
}
