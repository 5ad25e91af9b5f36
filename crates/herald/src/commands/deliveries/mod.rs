//! `herald deliveries list|show|resend|drop`

mod choice;
mod print;

use clap::{Args, Subcommand};
use herald_outbox::{Access, Filter, HistoryEntry, Outbox};

pub(crate) use self::choice::StateArgs;
use self::choice::{Choice, sort};
use crate::{
    failure::{Failure, Outcome},
    input::ConfigArgs,
    output::{self, Format},
};

/// Lines of a list, unless another number is wanted.
const LINES: u32 = 100;

/// Arguments of `deliveries`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald deliveries list examples/quickstart --outcome dead-letter\n  herald deliveries resend \
                  --since 2h --service slack\n\nWhere they are: the state file of `herald run` for a directory (., --dir, \
                  or named without a flag), --state FILE, or --outbox nats://…"
)]
pub(crate) struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Subcommand, Debug)]
enum DeliveriesCommand {
    /// List deliveries, newest first
    #[command(after_help = "Example:\n  herald deliveries list --service slack --since 1d --limit 20")]
    List {
        #[command(flatten)]
        choice: Choice,
        /// wide, name, yaml or json
        #[arg(short, long, value_name = "FORMAT", default_value = "wide")]
        output: Format,
    },
    /// Show one delivery with its content and all attempts
    #[command(after_help = "Example:\n  herald deliveries show 3f9a0c1b2d4e5f60")]
    Show {
        /// The id of the notice; beside it, the directory that `herald run` watches
        #[arg(value_name = "ID", required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        state: StateArgs,
        /// wide, name, yaml or json
        #[arg(short, long, value_name = "FORMAT", default_value = "wide")]
        output: Format,
    },
    /// Queue deliveries again, whatever became of them
    #[command(
        after_help = "Examples:\n  herald deliveries resend --outcome dead-letter --service slack\n  herald deliveries resend \
                            --since 2026-11-23T08:00:00Z"
    )]
    Resend(Change),
    /// Drop deliveries that wait or were given up
    #[command(after_help = "Example:\n  herald deliveries drop 3f9a0c1b2d4e5f60")]
    Drop(Change),
}

/// What is changed.
#[derive(Args, Debug)]
struct Change {
    #[command(flatten)]
    choice: Choice,
    /// Only list what is meant
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &DeliveriesArgs, config: &ConfigArgs) -> Outcome {
    let namespace = config.namespace.as_deref();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match &args.command {
            DeliveriesCommand::List { choice, output } => {
                let mut chosen = choice.chosen(namespace)?;
                for filter in &mut chosen.filters {
                    filter.limit.get_or_insert(LINES);
                }
                let outbox = chosen.state.open(Access::ReadOnly).await?;
                print::list(*output, &list(&*outbox, &chosen.filters).await?)
            }
            DeliveriesCommand::Show { targets, state, output } => {
                let (ids, place) = sort(targets)?;
                let outbox = state.or_at(place.as_deref())?.open(Access::ReadOnly).await?;
                if ids.is_empty() {
                    return Err(Failure::usage("which delivery? `herald deliveries list` shows their ids"));
                }
                for id in ids {
                    let entry = outbox.show(&id).await?.ok_or_else(|| unknown(&id))?;
                    print::one(*output, &entry)?;
                }
                Ok(())
            }
            DeliveriesCommand::Resend(change) => change.run(namespace, true).await,
            DeliveriesCommand::Drop(change) => change.run(namespace, false).await,
        }
    })
}

fn unknown(id: &str) -> Failure {
    Failure::bad(format!("there is no delivery with the id `{id}`; `herald deliveries list` shows them"))
}

async fn list(outbox: &dyn Outbox, filters: &[Filter]) -> Result<Vec<HistoryEntry>, Failure> {
    let mut found = Vec::new();
    for filter in filters {
        found.extend(outbox.list(filter.clone()).await?);
    }
    Ok(found)
}

impl Change {
    async fn run(&self, namespace: Option<&str>, again: bool) -> Outcome {
        let chosen = self.choice.chosen(namespace)?.some()?;
        if self.dry_run {
            let outbox = chosen.state.open(Access::ReadOnly).await?;
            return print::list(Format::Wide, &list(&*outbox, &chosen.filters).await?);
        }
        let outbox = chosen.state.open(Access::Guest).await?;
        // A wrong id is told before anything is changed.
        for id in chosen.filters.iter().filter_map(|filter| filter.id.as_deref()) {
            if outbox.show(id).await?.is_none() {
                return Err(unknown(id));
            }
        }
        let now = jiff::Timestamp::now();
        let mut count = 0;
        for filter in chosen.filters {
            count += match again {
                true => outbox.resend(filter, now).await?,
                false => outbox.drop_notices(filter, now).await?,
            };
        }
        output::print(&format!("{count} {}\n", if again { "queued again" } else { "dropped" }))
    }
}
