//! Where kube-apiserver and etcd come from: `KUBEBUILDER_ASSETS`, else the Go module in `conformance/apiserver`, built
//! once and kept outside the build directory.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

/// Without what debuggers need, and with the version that the release's own build would put in.
const LINK: &str = "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
                    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

/// The programs, each with the arguments that go before its own.
#[derive(Clone, Debug)]
pub struct Programs {
    etcd: Vec<PathBuf>,
    kube_apiserver: Vec<PathBuf>,
}

impl Programs {
    pub(super) fn etcd(&self) -> &[PathBuf] {
        &self.etcd
    }

    pub(super) fn kube_apiserver(&self) -> &[PathBuf] {
        &self.kube_apiserver
    }

    /// The programs that are there already, without building anything.
    pub fn find() -> Option<Programs> {
        if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
            return Some(Programs {
                etcd: vec![assets.join("etcd")],
                kube_apiserver: vec![assets.join("kube-apiserver")],
            });
        }
        let built = built().ok()?;
        built.exists().then(|| Programs::of(&built))
    }

    /// The same, built if they are not there. A cold build takes about 15 minutes of one core.
    ///
    /// # Errors
    /// If Go is missing or its build fails.
    pub fn find_or_build() -> io::Result<Programs> {
        if let Some(programs) = Programs::find() {
            return Ok(programs);
        }
        let built = built()?;
        let home = built.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(home)?;
        // Two test commands at once must not both spend the quarter of an hour.
        let guard = File::create(home.join("lock"))?;
        guard.lock()?;
        if !built.exists() {
            let unfinished = built.with_extension("unfinished");
            let status = Command::new("nice")
                .args(["go", "build", "-buildvcs=false", "-trimpath", LINK, "-o"])
                .arg(&unfinished)
                .arg(".")
                .current_dir(module())
                .status()
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("go, which builds the API server: {error}"))
                })?;
            if !status.success() {
                return Err(io::Error::other(format!("go build in conformance/apiserver: {status}")));
            }
            fs::rename(&unfinished, &built)?;
        }
        Ok(Programs::of(&built))
    }

    fn of(built: &Path) -> Programs {
        Programs {
            etcd: vec![built.into(), "etcd".into()],
            kube_apiserver: vec![built.into(), "kube-apiserver".into()],
        }
    }
}

/// The Go module's folder.
pub(super) fn module() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/apiserver"))
}

/// The binary's path, named after what it is built from.
fn built() -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(LINK);
    for name in ["go.mod", "go.sum", "main.go"] {
        hash.update(fs::read(module().join(name))?);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(cache.join("herald-tests").join(format!("apiserver-{hash}")).join("apiserver"))
}
