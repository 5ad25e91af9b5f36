//! Which deliveries are meant, and where they are.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use herald_outbox::{Access, Filter, Outbox, Outcome as Standing};
use jiff::{Span, Timestamp, Zoned, civil::Date};

use crate::{failure::Failure, input, store::OutboxUrl};

/// Which state file is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateArgs {
    /// The state file, or the directory that `herald run` watches [env: HERALD_STATE=]
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    state: Option<PathBuf>,
    /// The directory that `herald run` watches with its default state file [default: .]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    outbox: OutboxUrl,
}

impl StateArgs {
    /// The file. What is named on the command line comes before what the environment says.
    pub(crate) fn file(&self) -> Result<PathBuf, Failure> {
        let environment = || std::env::var_os("HERALD_STATE").filter(|name| !name.is_empty());
        let named = match (&self.state, &self.dir) {
            (Some(state), _) => Some(state.clone()),
            (None, Some(_)) => None,
            (None, None) => environment().map(PathBuf::from),
        };
        input::named_state_file(named.as_deref(), self.dir.as_deref().unwrap_or(Path::new(".")))
    }

    /// Whether a place is named by a flag.
    pub(crate) fn is_named(&self) -> bool {
        self.state.is_some() || self.dir.is_some() || self.outbox.is_shared()
    }

    /// Whether it is an outbox that many share.
    pub(crate) fn is_shared(&self) -> bool {
        self.outbox.is_shared()
    }

    /// The directory that is named.
    pub(crate) fn directory(&self) -> Option<&PathBuf> {
        self.dir.as_ref().or(self.state.as_ref().filter(|state| state.is_dir()))
    }

    /// The same with a directory or a file that was named without a flag.
    pub(crate) fn or_at(&self, place: Option<&Path>) -> Result<StateArgs, Failure> {
        let Some(place) = place else { return Ok(self.clone()) };
        if self.state.is_some() || self.dir.is_some() {
            return Err(Failure::usage(format!(
                "{} and --state or --dir: name one of them",
                place.display()
            )));
        }
        Ok(StateArgs { state: Some(place.to_owned()), ..self.clone() })
    }

    /// Opens the outbox that is meant.
    pub(crate) async fn open(&self, access: Access) -> Result<std::sync::Arc<dyn Outbox>, Failure> {
        let file = || {
            let file = self.file()?;
            match file.exists() {
                true => Ok(file),
                // Nobody but `herald run` makes one.
                false => Err(Failure::bad(format!(
                    "there is no state file {}; name the directory that `herald run` watches, its state file with --state, \
                     or --outbox",
                    file.display()
                ))),
            }
        };
        self.outbox.open(access, file).await
    }

    /// What it is called in output.
    pub(crate) fn place(&self) -> Result<String, Failure> {
        match self.outbox.is_shared() {
            true => Ok("the outbox".to_owned()),
            false => self.file().map(|file| file.display().to_string()),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stands {
    Pending,
    Delivered,
    DeadLetter,
    Dropped,
    Muted,
    Grouped,
}

impl From<Stands> for Standing {
    fn from(stands: Stands) -> Standing {
        match stands {
            Stands::Pending => Standing::Pending,
            Stands::Delivered => Standing::Delivered,
            Stands::DeadLetter => Standing::DeadLetter,
            Stands::Dropped => Standing::Dropped,
            Stands::Muted => Standing::Muted,
            Stands::Grouped => Standing::Grouped,
        }
    }
}

/// Which deliveries are meant.
#[derive(Args, Clone, Debug)]
pub(super) struct Choice {
    /// Ids of notices, or the directory that `herald run` watches
    #[arg(value_name = "ID|DIR")]
    targets: Vec<String>,
    #[command(flatten)]
    pub(super) state: StateArgs,
    /// Only these notices
    #[arg(long)]
    id: Vec<String>,
    /// Only where they stand so
    #[arg(long, value_name = "WORD")]
    outcome: Option<Stands>,
    /// Only of this service instance
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only to this recipient
    #[arg(long, value_name = "NAME")]
    recipient: Option<String>,
    /// Only of this trigger
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only about this Rollout
    #[arg(long, value_name = "[NAMESPACE/]NAME", conflicts_with_all = ["name", "object_namespace"])]
    rollout: Option<String>,
    /// Only about the object of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only about objects of this namespace; --namespace says the same
    #[arg(long, value_name = "NAME")]
    object_namespace: Option<String>,
    /// Only what became due since: how long ago (90m, 2h, 1d), or a time (2026-11-23, 2026-11-23T08:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only what became due before, in the same words
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only the newest, so many
    #[arg(long, value_name = "NUMBER")]
    pub(super) limit: Option<u32>,
}

/// A time as people give it.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let now = Zoned::now();
    if let Ok(date) = text.parse::<Date>() {
        return date.to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|e| e.to_string());
    }
    let ago = text.parse::<Span>().ok().filter(|span| !span.is_negative());
    ago.and_then(|span| now.checked_sub(span).ok()).map(|at| at.timestamp()).ok_or_else(|| {
        "write how long ago, such as 90m, 2h or 1d, or a time such as 2026-11-23T08:00:00Z".to_owned()
    })
}

/// What a command is about.
pub(super) struct Chosen {
    pub(super) state: StateArgs,
    /// One filter for each notice that is named, or one for all.
    pub(super) filters: Vec<Filter>,
}

/// Ids, and the place that is named among them.
pub(super) fn sort(targets: &[String]) -> Result<(Vec<String>, Option<PathBuf>), Failure> {
    let is_place = |target: &&String| Path::new(target).is_dir() || target.ends_with(".db");
    let mut places = targets.iter().filter(is_place);
    let place = places.next().map(PathBuf::from);
    if let Some(second) = places.next() {
        return Err(Failure::usage(format!("{second}: there is one place of deliveries at a time")));
    }
    Ok((targets.iter().filter(|target| !is_place(target)).cloned().collect(), place))
}

impl Choice {
    /// What is meant. `namespace` is that of the flag that all commands have.
    pub(super) fn chosen(&self, namespace: Option<&str>) -> Result<Chosen, Failure> {
        let (mut ids, place) = sort(&self.targets)?;
        ids.extend(self.id.iter().cloned());
        let (of_rollout, rollout) = match self.rollout.as_deref().map(|text| (text, text.split_once('/'))) {
            None => (None, None),
            Some((_, Some((namespace, name)))) => (Some(namespace.to_owned()), Some(name.to_owned())),
            Some((name, None)) => (None, Some(name.to_owned())),
        };
        let filter = Filter {
            namespace: of_rollout.or(self.object_namespace.clone()).or(namespace.map(str::to_owned)),
            kind: rollout.as_ref().map(|_| "Rollout".to_owned()),
            name: rollout.or(self.name.clone()),
            trigger: self.trigger.clone(),
            service: self.service.clone(),
            recipient: self.recipient.clone(),
            outcome: self.outcome.map(Standing::from),
            since: self.since,
            until: self.until,
            limit: self.limit,
            id: None,
        };
        let filters = match ids.is_empty() {
            true => vec![filter],
            false => ids.into_iter().map(|id| Filter { id: Some(id), ..filter.clone() }).collect(),
        };
        Ok(Chosen { state: self.state.or_at(place.as_deref())?, filters })
    }
}

impl Chosen {
    /// Changing everything must be meant.
    pub(super) fn some(self) -> Result<Chosen, Failure> {
        if self.filters.iter().any(|filter| Filter { limit: None, ..filter.clone() } == Filter::default()) {
            return Err(Failure::usage(
                "say which deliveries are meant: ids, --outcome, --service, --since, …",
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_people_do() {
        let now = Timestamp::now();
        for (text, ago) in [("90m", 5400), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("2 hours", 7200)] {
            let found = now.duration_since(time(text).unwrap()).as_secs();
            // A day may have another hour where clocks are changed.
            assert!((found - ago).abs() <= 3600 * i64::from(text.contains('d')) + 5, "{text}: {found}");
        }
        assert_eq!(time("2026-11-23T08:00:00Z").unwrap().as_second(), 1_795_420_800);
        assert_eq!(time("2026-11-23T09:00:00+01:00").unwrap().as_second(), 1_795_420_800);
        assert!(time("2026-11-23").is_ok());
        for text in ["", "soon", "-2h", "yesterday", "99999y"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
