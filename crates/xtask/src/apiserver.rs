//! A real API server on loopback, for tests and to try things out.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use herald_testkit::apiserver::{ApiServer, Programs, VARIABLE};

/// What to do, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// The port of the API server; otherwise a free one.
    #[arg(long)]
    port: Option<u16>,
    /// The folder for its data, which is removed at the end; otherwise a new one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only builds the binary.
    #[arg(long)]
    build: bool,
    /// More flags for kube-apiserver.
    #[arg(last = true)]
    flags: Vec<String>,
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    if Programs::find().is_none() {
        eprintln!("Building kube-apiserver and etcd; once, about 15 minutes of one core …");
    }
    let programs = Programs::find_or_build()?;
    if options.build {
        return Ok(());
    }
    let dir = match options.dir {
        Some(dir) => {
            // The end removes the folder: it must not hold anything else.
            let others = dir.exists() && dir.read_dir()?.next().is_some();
            anyhow::ensure!(!others, "{} is not empty", dir.display());
            std::path::absolute(dir)?
        }
        None => tempfile::Builder::new().prefix("herald-apiserver-").tempdir()?.keep(),
    };
    let runtime = tokio::runtime::Runtime::new().context("a runtime")?;
    runtime.block_on(async {
        let server = ApiServer::run(programs, dir, options.port, options.flags).await?;
        tell(&server.url(), server.dir());
        interrupted().await?;
        // Here the server is dropped, and its processes and its folder go.
        Ok(())
    })
}

fn tell(url: &str, dir: &Path) {
    let kubeconfig = dir.join("kubeconfig");
    let (dir, kubeconfig) = (dir.display(), kubeconfig.display());
    println!("API server: {url}");
    println!("kubeconfig: {kubeconfig}");
    println!("try:        kubectl --kubeconfig {kubeconfig} get rollouts -A");
    println!("            herald run --kubeconfig {kubeconfig}");
    println!("tests:      {VARIABLE}={dir} cargo test");
    println!("It stays until it is interrupted (Ctrl-C).");
}

async fn interrupted() -> anyhow::Result<()> {
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = end.recv() => {}
    }
    Ok(())
}
