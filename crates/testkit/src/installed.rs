//! Real programs of others that tests talk to: installed once into `target/tools`, started on ports of their own, and ended
//! with the test.
//!
//! Where one can't be installed, its tests are skipped with a line on standard error that says so, also for tests whose
//! output nobody looks at; `HERALD_TESTS_REQUIRED=1` makes that a failure.

use std::{
    fs::File,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::tls;

/// Below the workspace, so that `cargo clean` removes it.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools");

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mail server's program.
const SMTP_SERVER: &str = include_str!("../tools/smtp_server.py");

/// A program that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Prometheus' Alertmanager, from Debian's package.
    Alertmanager,
    /// The server of `moto`, which is Amazon's APIs in memory.
    Moto,
    /// A mail server made of `aiosmtpd`, with STARTTLS and passwords.
    Smtp,
    /// Schemathesis, which asks an API everything that its description allows, and more. It is no server: see
    /// [`Tool::installed`].
    Schemathesis,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Alertmanager => "alertmanager",
            Tool::Moto => "moto",
            Tool::Smtp => "aiosmtpd",
            Tool::Schemathesis => "schemathesis",
        }
    }

    /// The program, below the tool's directory.
    fn program(self) -> &'static str {
        match self {
            Tool::Alertmanager => "usr/bin/prometheus-alertmanager",
            Tool::Moto => "bin/moto_server",
            Tool::Smtp => "bin/python",
            Tool::Schemathesis => "bin/schemathesis",
        }
    }

    /// What installs it into the current directory.
    fn script(self) -> &'static str {
        match self {
            // Unpacked only, as the package would start a service. The program looks for its templates in one place.
            Tool::Alertmanager => {
                "root=$([ \"$(id -u)\" = 0 ] || echo sudo -n)
                apt-get download -q prometheus-alertmanager ||
                    { $root apt-get update -q && apt-get download -q prometheus-alertmanager; } &&
                dpkg -x prometheus-alertmanager_*.deb . &&
                { [ -e /usr/share/prometheus/alertmanager/default.tmpl ] ||
                    { $root mkdir -p /usr/share/prometheus &&
                      $root cp -r usr/share/prometheus/alertmanager /usr/share/prometheus/; }; }"
            }
            Tool::Moto => "python3 -m venv . && bin/pip install --quiet 'moto[server]==5.2.5'",
            Tool::Smtp => "python3 -m venv . && bin/pip install --quiet aiosmtpd==1.4.6",
            Tool::Schemathesis => "python3 -m venv . && bin/pip install --quiet schemathesis==4.32.5",
        }
    }

    /// The program, installed if it isn't yet.
    fn find(self) -> Result<PathBuf, String> {
        let home = Path::new(TOOLS).join(self.name());
        let program = home.join(self.program());
        let done = home.join("installed");
        if done.is_file() && program.exists() {
            return Ok(program);
        }
        std::fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        // One at a time: tests run in several processes.
        let lock = File::create(home.with_extension("lock")).map_err(|e| e.to_string())?;
        lock.lock().map_err(|e| e.to_string())?;
        if done.is_file() && program.exists() {
            return Ok(program);
        }
        let output = Command::new("sh")
            .args(["-c", self.script()])
            .current_dir(&home)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| e.to_string())?;
        if !output.status.success() || !program.exists() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(said.lines().last().unwrap_or("its installation failed").to_string());
        }
        File::create(done).map_err(|e| e.to_string())?;
        Ok(program)
    }

    /// Where it is, for one that is run; `None`, with a line about it, where it can't be installed.
    ///
    /// # Panics
    /// If it can't be installed although it is required.
    pub fn installed(self) -> Option<PathBuf> {
        match self.find() {
            Ok(program) => Some(program),
            Err(why) => {
                let line = format!("SKIPPED: no {}: {why}", self.name());
                assert!(std::env::var_os("HERALD_TESTS_REQUIRED").is_none(), "{line}");
                // Not by eprintln, whose output is shown for failed tests only.
                let _ = writeln!(std::io::stderr(), "{line}");
                None
            }
        }
    }

    /// Starts it; `None`, with a line about it, where it can't be installed.
    ///
    /// # Panics
    /// If it doesn't start, or can't be installed although it is required.
    pub async fn start(self) -> Option<Running> {
        let program = self.installed()?;
        let home = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let log = File::create(home.path().join("log")).expect("a file");
        let mut command = Command::new(&program);
        match self {
            Tool::Alertmanager => {
                let config = home.path().join("alertmanager.yml");
                std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n")
                    .expect("a file");
                command
                    .arg(format!("--config.file={}", config.display()))
                    .arg(format!("--storage.path={}", home.path().join("data").display()))
                    .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                    .arg("--cluster.listen-address=");
            }
            Tool::Moto => {
                command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            }
            Tool::Smtp => {
                let files = [
                    ("smtp_server.py", SMTP_SERVER),
                    ("server.pem", tls::SERVER_PEM),
                    ("server.key", tls::SERVER_KEY),
                ];
                for (name, text) in files {
                    std::fs::write(home.path().join(name), text).expect("a file");
                }
                command.arg(home.path().join("smtp_server.py")).arg(home.path()).arg(port.to_string());
            }
            Tool::Schemathesis => panic!("schemathesis is run, not started"),
        }
        let child = command
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("a program that starts");
        let running = Running { port, home, child };
        running.listening(self.name()).await;
        Some(running)
    }
}

/// A program that runs. It ends when this is dropped.
pub struct Running {
    port: u16,
    home: TempDir,
    child: Child,
}

impl Running {
    /// The port that it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its directory, which goes away with it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    async fn listening(&self, name: &str) {
        let heard = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let said = || std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        assert!(tokio::time::timeout(PATIENCE, heard).await.is_ok(), "{name}: {}", said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; gone is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
