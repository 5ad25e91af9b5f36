//! A real `nats-server`, one or a cluster, with JetStream, TLS and further configuration as a test wants it.
//!
//! The program is found at `$HERALD_NATS_SERVER`, where `./test` puts it, or on the `PATH`. Where there is none, a test
//! is skipped with one line that says so.

use std::{
    fmt::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};

use crate::tls;

/// Where `./test` installs it, below the workspace.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/nats/bin/nats-server");

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// Streams and buckets.
    pub jetstream: bool,
    /// Streams and buckets sync their files as the server does by default (every two minutes), not at each write.
    pub sync_by_default: bool,
    /// TLS with the certificates of [`crate::tls`].
    pub tls: bool,
    /// Further lines of its configuration, such as `authorization { user: a, password: b }`.
    pub config: String,
}

/// Servers that end when this is dropped.
pub struct Nats {
    program: PathBuf,
    home: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    child: Option<Child>,
}

/// The program, if there is one on this machine.
pub fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HERALD_NATS_SERVER").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    std::iter::once(PathBuf::from(INSTALLED)).chain(on_path).find(|file| file.is_file())
}

impl Nats {
    /// Starts one; `None`, with a line about it, where the program is missing.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start(options: &NatsOptions) -> Option<Nats> {
        Nats::cluster(1, options).await
    }

    /// Starts a cluster of this size, on ports of its own. Its nodes are called `n0`, `n1` and so on.
    ///
    /// # Panics
    /// If they don't start.
    pub async fn cluster(size: usize, options: &NatsOptions) -> Option<Nats> {
        let Some(program) = program() else {
            eprintln!(
                "SKIPPED: no nats-server; install it (`./test` does) or name it with HERALD_NATS_SERVER"
            );
            return None;
        };
        let home = tempfile::tempdir().expect("a directory");
        for (name, text) in
            [("ca.pem", tls::CA_PEM), ("server.pem", tls::SERVER_PEM), ("server.key", tls::SERVER_KEY)]
        {
            std::fs::write(home.path().join(name), text).expect("a file");
        }
        let ports = free_ports(2 * size);
        let (clients, routes) = ports.split_at(size);
        for (number, (client, route)) in clients.iter().zip(routes).enumerate() {
            let text = configuration(home.path(), number, *client, *route, routes, options);
            std::fs::write(home.path().join(format!("n{number}.conf")), text).expect("a file");
        }
        let nodes = clients.iter().map(|port| Node { port: *port, child: None }).collect();
        let mut nats = Nats { program, home, nodes };
        for number in 0..size {
            nats.spawn(number);
        }
        for number in 0..size {
            nats.listening(number).await;
        }
        Some(nats)
    }

    /// The URLs of all nodes, separated by commas.
    pub fn url(&self) -> String {
        let one = |node: &Node| format!("nats://127.0.0.1:{}", node.port);
        self.nodes.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// The file with the CA's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// A directory for further files, which goes away with the servers.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Kills a node as a power cut would, by its number.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.nodes.get_mut(number).and_then(|node| node.child.take()) {
            // It may have ended by itself; gone is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a killed node again, with what it had stored, and waits until it listens.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn restart(&mut self, number: usize) {
        self.kill(number);
        self.spawn(number);
        self.listening(number).await;
    }

    fn spawn(&mut self, number: usize) {
        let config = self.home.path().join(format!("n{number}.conf"));
        let log = std::fs::File::options().create(true).append(true).open(config.with_extension("log"));
        let Some(node) = self.nodes.get_mut(number) else { return };
        let child = Command::new(&self.program)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log.expect("a file"))
            .spawn()
            .expect("a program that starts");
        node.child = Some(child);
    }

    async fn listening(&self, number: usize) {
        let Some(node) = self.nodes.get(number) else { return };
        let greeted = async {
            loop {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", node.port)).await {
                    let mut line = String::new();
                    let read = BufReader::new(stream).read_line(&mut line).await;
                    if read.is_ok() && line.starts_with("INFO ") {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let log = self.home.path().join(format!("n{number}.log"));
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(tokio::time::timeout(PATIENCE, greeted).await.is_ok(), "nats-server: {}", said());
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.kill(number);
        }
    }
}

/// Ports that were free a moment ago.
fn free_ports(number: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..number).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}

fn configuration(
    home: &Path,
    number: usize,
    client: u16,
    route: u16,
    routes: &[u16],
    options: &NatsOptions,
) -> String {
    let dir = home.display();
    let mut text = format!("host: 127.0.0.1\nport: {client}\nserver_name: n{number}\n");
    if options.jetstream {
        // As careful as the state file: acknowledged is on the disk.
        let sync = if options.sync_by_default { "" } else { ", sync_interval: always" };
        let _ = writeln!(text, "jetstream {{ store_dir: \"{dir}/n{number}\"{sync} }}");
    }
    if options.tls {
        let _ = writeln!(
            text,
            "tls {{ cert_file: \"{dir}/server.pem\", key_file: \"{dir}/server.key\", timeout: 10 }}"
        );
    }
    if routes.len() > 1 {
        let others = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}"));
        let others = others.collect::<Vec<_>>().join(", ");
        let _ =
            writeln!(text, "cluster {{ name: herald, listen: \"127.0.0.1:{route}\", routes: [{others}] }}");
    }
    text.push_str(&options.config);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_ends_and_starts_again() {
        let options = NatsOptions { jetstream: true, ..NatsOptions::default() };
        let Some(mut nats) = Nats::start(&options).await else { return };
        assert!(nats.url().starts_with("nats://127.0.0.1:"));
        nats.restart(0).await;
        let port = nats.nodes[0].port;
        drop(nats);
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }
}
