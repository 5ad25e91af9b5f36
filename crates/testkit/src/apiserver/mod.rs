//! A real API server for tests: kube-apiserver and etcd on loopback, with RBAC, the CRDs of `conformance/apiserver/crds`
//! and an administrator's token. There are no controllers: tests write what controllers would write.
//!
//! ```no_run
//! # async fn example() {
//! use herald_testkit::apiserver::ApiServer;
//!
//! let Some(server) = ApiServer::shared().await else { return };
//! let namespace = server.namespace("demo").await;
//! let (status, _) = server.api().get(&format!("/api/v1/namespaces/{namespace}")).await;
//! assert_eq!(status, 200);
//! # }
//! ```
//!
//! `./test` starts one server for all test programs (`cargo xtask apiserver`) and names its folder in
//! `HERALD_TEST_APISERVER`; without it each test program starts its own, if the binary has been built.

mod api;
mod binary;
mod process;

use std::{
    fs, io,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::process::Server;
pub use self::{
    api::{Answer, Api},
    binary::Programs,
    process::Stop,
};

/// Names the folder of a server that runs already.
pub const VARIABLE: &str = "HERALD_TEST_APISERVER";

/// The administrator's token.
const TOKEN: &str = "herald-test-administrator";

/// Any list of the kinds that are installed.
const OURS: &str = "/apis/argoproj.io/v1alpha1/rollouts?limit=1";

/// How long the servers may take to start: a busy machine takes many times the usual four seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    peer: u16,
    api: u16,
}

#[derive(Debug)]
struct Running {
    programs: Programs,
    apiserver: Option<Server>,
    _etcd: Server,
}

/// A running API server. Its processes end with it, except where another process runs it.
#[derive(Debug)]
pub struct ApiServer {
    dir: PathBuf,
    ports: Ports,
    extra: Vec<String>,
    running: Mutex<Option<Running>>,
}

impl ApiServer {
    /// The server that tests share, one namespace each. `None` means that there is no binary: the test is to be skipped,
    /// which has been said on standard error.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn shared() -> Option<&'static ApiServer> {
        static SHARED: OnceCell<Option<ApiServer>> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match std::env::var_os(VARIABLE) {
                    Some(dir) => {
                        Some(ApiServer::join(Path::new(&dir)).expect("the running API server's ports"))
                    }
                    None => ApiServer::start(&[]).await,
                }
            })
            .await
            .as_ref()
    }

    /// A server of one's own, to stop and to restart; `extra` goes to kube-apiserver. `None` as in [`ApiServer::shared`].
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn start(extra: &[&str]) -> Option<ApiServer> {
        let Some(programs) = Programs::find() else {
            skipped();
            return None;
        };
        let dir = tempfile::Builder::new().prefix("herald-apiserver-").tempdir().expect("a folder").keep();
        let extra = extra.iter().map(|flag| (*flag).to_string()).collect();
        Some(ApiServer::run(programs, dir, None, extra).await.expect("an API server"))
    }

    /// Starts a server with these programs in a folder of its own, which is removed when the server ends.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn run(
        programs: Programs,
        dir: PathBuf,
        port: Option<u16>,
        extra: Vec<String>,
    ) -> io::Result<ApiServer> {
        fs::create_dir_all(&dir)?;
        let [etcd, peer, api] = free_ports()?;
        let ports = Ports { etcd, peer, api: port.unwrap_or(api) };
        fs::write(dir.join("ca.pem"), crate::tls::CA_PEM)?;
        fs::write(dir.join("server.pem"), crate::tls::SERVER_PEM)?;
        fs::write(dir.join("server.key"), crate::tls::SERVER_KEY)?;
        fs::write(
            dir.join("tokens.csv"),
            format!("{TOKEN},administrator,administrator,\"system:masters\"\n"),
        )?;
        let etcd =
            Server::start(programs.etcd(), &etcd_flags(&dir, ports), &dir.join("etcd.log"), Some(&dir))?;
        let server = ApiServer {
            dir,
            ports,
            extra,
            running: Mutex::new(Some(Running { programs, apiserver: None, _etcd: etcd })),
        };
        server.resume().await?;
        server.install().await?;
        fs::write(server.dir.join("kubeconfig"), kubeconfig(&server.url(), TOKEN, "default"))?;
        // The last file: who waits for it finds everything else.
        let text = json!({"etcd": ports.etcd, "peer": ports.peer, "api": ports.api}).to_string();
        fs::write(server.dir.join("ports.unfinished"), text)?;
        fs::rename(server.dir.join("ports.unfinished"), server.dir.join("ports.json"))?;
        Ok(server)
    }

    /// The server that another process runs in this folder.
    ///
    /// # Errors
    /// If there is none.
    pub fn join(dir: &Path) -> io::Result<ApiServer> {
        let text = fs::read_to_string(dir.join("ports.json"))?;
        let ports: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
        let port = |name: &str| {
            let number = ports[name].as_u64().and_then(|number| u16::try_from(number).ok());
            number.ok_or_else(|| io::Error::other(format!("no port {name} in {text}")))
        };
        let ports = Ports { etcd: port("etcd")?, peer: port("peer")?, api: port("api")? };
        Ok(ApiServer { dir: dir.into(), ports, extra: Vec::new(), running: Mutex::new(None) })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api)
    }

    /// Its folder: logs, certificates, the administrator's kubeconfig.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator's token.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// An administrator's client. Clients belong to one test's runtime: do not share them between tests.
    pub fn api(&self) -> Api {
        Api::new(&self.url(), TOKEN)
    }

    /// Creates a namespace with a name of its own.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn namespace(&self, prefix: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}", std::process::id());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        Api::done(self.api().create("/api/v1/namespaces", &object).await);
        name
    }

    /// A token of a service account, as a pod of it would have.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn account_token(&self, namespace: &str, account: &str) -> String {
        let path = format!("{}/{account}/token", Api::core(namespace, "serviceaccounts"));
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = Api::done(self.api().create(&path, &request).await);
        answer["status"]["token"].as_str().unwrap_or_default().to_string()
    }

    /// Writes a kubeconfig into a folder: the administrator's, for this server.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn kubeconfig(&self, dir: &Path, namespace: &str) -> PathBuf {
        write_kubeconfig(dir, &self.url(), TOKEN, namespace)
    }

    /// Ends kube-apiserver; etcd stays. Only for a server of one's own.
    ///
    /// # Panics
    /// If it was not started by this process.
    pub fn stop(&self, how: Stop) {
        let server = {
            let mut running = lock(&self.running);
            let running = running.as_mut().expect("a server that this process started");
            running.apiserver.take()
        };
        if let Some(server) = server {
            server.stop(how).expect("an end");
        }
    }

    /// Starts kube-apiserver again on the same port and the same data, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn resume(&self) -> io::Result<()> {
        {
            let mut running = lock(&self.running);
            let running =
                running.as_mut().ok_or_else(|| io::Error::other("another process runs this server"))?;
            if running.apiserver.is_none() {
                let flags = apiserver_flags(&self.dir, self.ports, &self.extra);
                let log = self.dir.join("kube-apiserver.log");
                running.apiserver =
                    Some(Server::start(running.programs.kube_apiserver(), &flags, &log, None)?);
            }
        }
        let api = self.api();
        // Our own kinds are served a little later than it says that it is ready.
        let path = if self.dir.join("ports.json").exists() { OURS } else { "/readyz" };
        let mut ended = false;
        let answer = wait_for(PATIENCE, async || {
            ended = self.has_ended();
            ended || (api.get("/readyz").await.0 == 200 && api.get(path).await.0 == 200)
        })
        .await;
        if ended {
            return Err(io::Error::other(format!("kube-apiserver ended: {}", self.last_log())));
        }
        answer.map_err(|error| {
            io::Error::other(format!("kube-apiserver is not ready: {error}; {}", self.last_log()))
        })
    }

    /// Stops and starts kube-apiserver.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&self, how: Stop) {
        self.stop(how);
        self.resume().await.expect("an API server");
    }

    /// Makes etcd forget all history up to now: who continues a list or a watch from before is told 410 Gone.
    ///
    /// # Panics
    /// If etcd refuses it.
    pub async fn compact(&self) {
        let etcd = Api::new(&format!("http://127.0.0.1:{}", self.ports.etcd), "");
        // A write of our own makes a revision that was not forgotten before.
        let mark = json!({"key": STANDARD.encode("herald-test"), "value": ""});
        let answer = Api::done(etcd.create("/v3/kv/put", &mark).await);
        let revision = &answer["header"]["revision"];
        Api::done(etcd.create("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await);
    }

    /// Installs the CRDs and waits until they are served.
    async fn install(&self) -> io::Result<()> {
        let api = self.api();
        let folder = binary::module().join("crds");
        let mut collections = Vec::new();
        for entry in fs::read_dir(folder)? {
            let text = fs::read_to_string(entry?.path())?;
            let crd: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
            let (status, answer) =
                api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
            if status != 201 {
                return Err(io::Error::other(format!("CRD refused with {status}: {answer}")));
            }
            let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let (group, plural) = (word(&crd["spec"]["group"]), word(&crd["spec"]["names"]["plural"]));
            collections.push(format!("/apis/{group}/{}/{plural}", word(&crd["spec"]["versions"][0]["name"])));
        }
        for path in collections {
            wait_for(PATIENCE, async || api.get(&path).await.0 == 200).await?;
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        let mut running = lock(&self.running);
        running.as_mut().and_then(|running| running.apiserver.as_mut()).is_none_or(Server::has_ended)
    }

    fn last_log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("kube-apiserver.log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

/// Writes a kubeconfig for some server (a proxy's URL, say) and some token into a folder.
///
/// # Panics
/// If the file can't be written.
pub fn write_kubeconfig(dir: &Path, url: &str, token: &str, namespace: &str) -> PathBuf {
    let path = dir.join("kubeconfig");
    fs::write(&path, kubeconfig(url, token, namespace)).expect("a kubeconfig");
    path
}

/// Asks until the answer is yes.
///
/// # Errors
/// If that takes longer than `limit`.
pub async fn wait_for(limit: Duration, mut is_so: impl AsyncFnMut() -> bool) -> io::Result<()> {
    let start = Instant::now();
    while !is_so().await {
        if start.elapsed() > limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not so within {limit:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn kubeconfig(url: &str, token: &str, namespace: &str) -> String {
    let ca = STANDARD.encode(crate::tls::CA_PEM);
    format!(
        "apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {{server: \"{url}\", certificate-authority-data: {ca}}}
users:
- name: test
  user: {{token: {token}}}
contexts:
- name: test
  context: {{cluster: test, user: test, namespace: {namespace}}}
"
    )
}

fn etcd_flags(dir: &Path, ports: Ports) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    vec![
        "--name=test".into(),
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
        // The data is thrown away with the server.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn apiserver_flags(dir: &Path, ports: Ports, extra: &[String]) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", ports.api),
        format!("--cert-dir={}", dir.display()),
        format!("--tls-cert-file={}", file("server.pem")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("server.pem")),
        format!("--service-account-signing-key-file={}", file("server.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        // Nothing may be reached but loopback, which is no valid endpoint.
        "--endpoint-reconciler-type=none".into(),
        "--external-hostname=localhost".into(),
        "--etcd-compaction-interval=0".into(),
        "--profiling=false".into(),
    ];
    flags.extend(extra.iter().cloned());
    flags
}

/// Ports that nobody listens on. They are held together, so they differ.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Says once for each test program that its tests on the API server are skipped. Written past the capture of tests.
fn skipped() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let program = std::env::args().next().unwrap_or_default();
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: every test of {program} that needs a real API server: build one by `cargo xtask apiserver --build` \
             (needs Go 1.26), or set KUBEBUILDER_ASSETS"
        );
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
