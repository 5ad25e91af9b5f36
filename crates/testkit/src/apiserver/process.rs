//! Server processes that never outlive the one who started them.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Keeps a server until it ends or until its own input ends, which it does when the process that holds the other end is
/// gone, however it went. A word before that is a signal to end the server by.
const KEEPER: &str = r#"trap '' INT TERM
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ if read -r signal <&3; then kill -"$signal" $child; else kill -KILL $child; fi; } & reader=$!
wait $child
kill -KILL $reader 2>/dev/null
[ -z "$REMOVE" ] || rm -rf -- "$REMOVE"
"#;

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It may finish what it does (SIGTERM).
    Gently,
    /// It is gone at once (SIGKILL).
    Hard,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    keeper: Child,
}

impl Server {
    /// Starts a program; what it prints goes to a file. `remove` is a folder that goes when the server has ended.
    pub(super) fn start(
        program: &[PathBuf],
        arguments: &[String],
        log: &Path,
        remove: Option<&Path>,
    ) -> io::Result<Server> {
        let log = File::options().create(true).append(true).open(log)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args(program)
            .args(arguments)
            .env("REMOVE", remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Server { keeper })
    }

    /// Whether it ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.keeper.try_wait(), Ok(None))
    }

    /// Ends it and waits until it is gone.
    pub(super) fn stop(mut self, how: Stop) -> io::Result<()> {
        let signal = match how {
            Stop::Gently => "TERM\n",
            Stop::Hard => "KILL\n",
        };
        if let Some(mut input) = self.keeper.stdin.take() {
            input.write_all(signal.as_bytes())?;
        }
        self.keeper.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
