//! `cargo xtask bench`: Herald beside the reference's engine, on a real API server and the same receiver, in turn.

mod goals;
mod plot;
mod program;
mod relay;
mod report;
mod scenes;
mod sink;
mod world;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};

use self::{
    program::{Programs, Who},
    report::{Figures, Report, Run},
    scenes::Stage,
    sink::Sink,
    world::World,
};
use crate::root;

/// More Rollouts than this take the peer many minutes with its own limit of requests.
const MOST_LIMITED: usize = 1_000;

/// Arguments of `bench`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Args)]
struct Options {
    /// The scenes.
    #[arg(long, value_delimiter = ',', default_values = ["binary", "start", "storm", "floor", "steady", "idle", "sick", "config"])]
    scenes: Vec<Scene>,
    /// How many Rollouts a storm and the floor have.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    sizes: Vec<usize>,
    /// How many Rollouts are idle.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 50_000])]
    idle_sizes: Vec<usize>,
    /// Each figure is the median of so many runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long nothing happens, in seconds.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// How long changes go on, in seconds.
    #[arg(long, default_value_t = 20)]
    steady_seconds: u64,
    /// The peer [default: built from conformance/peer, needs Go].
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Herald [default: built here, as it is released].
    #[arg(long, value_name = "PATH")]
    herald: Option<PathBuf>,
    /// Without the peer.
    #[arg(long)]
    alone: bool,
    /// The folder of a running API server [default: one of its own].
    #[arg(long, value_name = "DIR")]
    apiserver: Option<PathBuf>,
    /// Where the report goes.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Adds to the report that is there.
    #[arg(long)]
    add: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    Storm,
    Steady,
    Idle,
    Sick,
    Config,
    Start,
    Binary,
    Floor,
    Outbox,
    Isolation,
    Languages,
}

#[derive(Subcommand)]
enum Part {
    /// Compiling and running the real conditions and templates, beside Go, in one run (needs Go).
    Languages {
        /// How many of the cases to show that are the least faster.
        #[arg(long, default_value_t = 0)]
        show: usize,
    },
    /// Notices a second through the state file with full durability, beside the raw store's limit.
    Outbox {
        /// Delivered notices that a second store holds before.
        #[arg(long, default_value_t = 1_000_000)]
        history: usize,
    },
    /// The healthy receiver's p99 beside one that hangs, and alone, at 500 notices a second.
    Isolation,
    /// Prints the last report.
    Report {
        /// Where it is.
        #[arg(long, value_name = "DIR", default_value = "target/bench")]
        out: PathBuf,
        /// Puts its figures into docs/performance.md.
        #[arg(long)]
        write: bool,
    },
    /// The receiver; started by the benchmark.
    #[command(hide = true)]
    Sink,
}

/// Runs what was asked for.
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    match args.part {
        None => bench(args.options),
        Some(Part::Languages { show }) => crate::languages::run(show),
        Some(Part::Outbox { history }) => example("throughput", &["20000", "256", &history.to_string()]),
        Some(Part::Isolation) => example("isolation", &[]),
        Some(Part::Sink) => tokio::runtime::Runtime::new()?.block_on(sink::serve()),
        Some(Part::Report { out, write }) => {
            let report = Report::read(&out)?;
            print!("{}", report.text());
            if write { report.publish() } else { Ok(()) }
        }
    }
}

/// Runs a measurement of the outbox, optimised.
fn example(name: &str, words: &[&str]) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--release", "--quiet", "--package", "herald-outbox", "--example", name, "--"]);
    let status = command.args(words).current_dir(root()).status()?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

fn bench(options: Options) -> Result<()> {
    if cfg!(debug_assertions) {
        // What is slow here would be measured with the others.
        return optimised();
    }
    let herald = match &options.herald {
        Some(path) => path.clone(),
        None => {
            build("herald")?;
            std::env::current_exe()?.with_file_name("herald")
        }
    };
    let peer = match &options.peer {
        Some(path) => path.clone(),
        None if options.alone => PathBuf::new(),
        None => build_peer(&options.out)?,
    };
    let programs = Programs { herald, peer };
    tokio::runtime::Runtime::new()?.block_on(play(&options, programs))
}

fn build(package: &str) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", package])
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "{package} can't be built");
    Ok(())
}

/// This program once more, built as Herald is released.
fn optimised() -> Result<()> {
    build("xtask")?;
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target directory")?;
    let error = Command::new(target.join("release/xtask")).args(std::env::args_os().skip(1)).exec();
    bail!("the optimised program can't be started: {error}")
}

fn build_peer(out: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(out)?;
    let peer = std::path::absolute(out.join("peer"))?;
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&peer).arg(".").current_dir(root().join("conformance/peer"));
    let status = command.status().context("go, which builds the peer (without it: --alone)")?;
    ensure!(status.success(), "conformance/peer can't be built");
    Ok(peer)
}

/// What is played at a number of Rollouts, in the order in which they become more.
fn plan(options: &Options) -> Vec<(usize, Scene)> {
    let mut plan = Vec::new();
    for scene in &options.scenes {
        let sizes = match scene {
            Scene::Storm | Scene::Floor => options.sizes.clone(),
            Scene::Idle => options.idle_sizes.clone(),
            Scene::Start => vec![100],
            Scene::Steady => vec![2_000],
            Scene::Sick | Scene::Config => vec![200],
            Scene::Binary => vec![1],
            Scene::Outbox | Scene::Isolation | Scene::Languages => vec![0],
        };
        plan.extend(sizes.into_iter().map(|size| (size, *scene)));
    }
    plan.sort_by_key(|(size, _)| *size);
    plan
}

async fn play(options: &Options, programs: Programs) -> Result<()> {
    let began = Instant::now();
    let mut report = if options.add { Report::read(&options.out)? } else { Report::default() };
    report.machine = machine();
    report.at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    report.revision = output("git", &["describe", "--always", "--dirty"]).unwrap_or_default();
    let mut stage = Stage {
        world: World::start(options.apiserver.as_deref()).await?,
        sink: Sink::start()?,
        programs,
        idle: Duration::from_secs(options.idle_seconds),
        steady: Duration::from_secs(options.steady_seconds),
    };
    for (size, scene) in plan(options) {
        stage.world.grow(size).await?;
        for run in 0..options.runs {
            for who in players(scene, size, options, run) {
                eprintln!(
                    "{:5.0} s  {scene:?} {size}, {}, run {}",
                    began.elapsed().as_secs_f64(),
                    who.name(),
                    run + 1
                );
                for (name, figures) in once(&stage, scene, size, who).await {
                    match figures {
                        Ok((who, figures)) => {
                            let size = if scene == Scene::Binary && name == "binary" { 0 } else { size };
                            report.runs.push(Run { scene: name.to_owned(), size, who, figures });
                        }
                        Err(error) => {
                            eprintln!("  {error:#}");
                            report.failures.push(format!("{name}, {size}, {}: {error:#}", who.name()));
                        }
                    }
                }
                // Whatever comes later, what was measured is kept.
                report.write(&options.out)?;
            }
        }
    }
    println!("{}", report.text());
    println!("{} s; also in {}", began.elapsed().as_secs(), options.out.display());
    Ok(())
}

/// Who plays a scene. The order changes with each run, so that nobody always comes first.
fn players(scene: Scene, size: usize, options: &Options, run: usize) -> Vec<Who> {
    let mut players = match scene {
        Scene::Floor | Scene::Outbox | Scene::Isolation | Scene::Languages => vec![Who::Herald],
        _ => vec![Who::Herald, Who::Peer],
    };
    // What its limit allows is the same every time.
    if scene == Scene::Storm && size <= MOST_LIMITED && run == 0 {
        players.extend([Who::HeraldLimited, Who::PeerLimited]);
    }
    if options.alone {
        players.retain(|who| matches!(who, Who::Herald | Who::HeraldLimited));
    }
    if run % 2 == 1 {
        players.reverse();
    }
    players
}

type Played = (&'static str, Result<(String, Figures)>);

/// Plays a scene once; some consist of two.
async fn once(stage: &Stage, scene: Scene, size: usize, who: Who) -> Vec<Played> {
    let named = |result: Result<Figures>| result.map(|figures| (who.name().to_owned(), figures));
    match scene {
        Scene::Storm => vec![("storm", named(stage.storm(who, size).await))],
        Scene::Floor => {
            let floor = stage.floor(size).await;
            vec![("floor", floor.map(|figures| ("bare client".to_owned(), figures)))]
        }
        Scene::Idle => vec![("idle", named(stage.idle(who, size).await))],
        Scene::Start => vec![("start", named(stage.start(who).await))],
        Scene::Steady => vec![("steady", named(stage.steady(who, 200, size).await))],
        Scene::Sick => vec![
            ("healthy alone", named(stage.sick(who, false).await)),
            ("sick receivers", named(stage.sick(who, true).await)),
        ],
        Scene::Config => vec![("config", named(stage.config(who).await))],
        Scene::Binary => {
            let path = if who == Who::Herald { &stage.programs.herald } else { &stage.programs.peer };
            vec![("binary", named(binary(path))), ("at rest", named(stage.idle(who, size).await))]
        }
        Scene::Outbox => vec![("outbox", told("outbox"))],
        Scene::Isolation => vec![("isolation", told("isolation"))],
        Scene::Languages => vec![("languages", told("languages"))],
    }
}

fn binary(path: &Path) -> Result<Figures> {
    let mut figures = Figures::default();
    figures.put("MB", std::fs::metadata(path)?.len() as f64 / 1e6);
    Ok(figures)
}

/// What another measurement prints: `NAME: NUMBER…` in each line.
fn told(part: &str) -> Result<(String, Figures)> {
    let text = output(&std::env::current_exe()?.to_string_lossy(), &["bench", part])
        .context("the measurement failed")?;
    let mut figures = Figures::default();
    if part == "languages" {
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, cases, go, ours, faster, go_compiling, ours_compiling, faster_compiling] = words[..]
            else {
                continue;
            };
            for (name, word) in [
                ("cases", cases),
                ("Go runs, ns", go),
                ("Herald runs, ns", ours),
                ("times faster", faster),
                ("Go compiles, ns", go_compiling),
                ("Herald compiles, ns", ours_compiling),
                ("times faster to compile", faster_compiling),
            ] {
                figures.put(&format!("{kind}: {name}"), word.trim_end_matches('x').parse()?);
            }
        }
        return Ok(("herald and Go".to_owned(), figures));
    }
    for line in text.lines() {
        let Some((name, rest)) = line.rsplit_once(": ") else { continue };
        let numbers = rest.split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
        let numbers: Vec<f64> = numbers.filter_map(|word| word.parse().ok()).collect();
        let value = if rest.contains("p99 ") { numbers.last() } else { numbers.first() };
        let name = if rest.contains("p99 ") { format!("{name}, p99 ms") } else { name.to_owned() };
        if let Some(value) = value {
            figures.put(&name, *value);
        }
    }
    Ok(("herald".to_owned(), figures))
}

fn output(program: &str, words: &[&str]) -> Result<String> {
    let out = Command::new(program).args(words).current_dir(root()).output()?;
    ensure!(out.status.success(), "{program} {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The processor, its cores, the memory and the kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let gigabytes = kilobytes.unwrap_or(0.0) / 1024.0 / 1024.0;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, {gigabytes:.0} GiB, Linux {}", kernel.trim())
}
