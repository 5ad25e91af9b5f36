//! `herald deliveries list|show|resend|drop`

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use herald_outbox::{Access, Filter, HistoryEntry, Outcome as Standing};

use crate::{
    failure::{Failure, Outcome},
    input, output,
    store::OutboxUrl,
    table,
};

/// Which state file is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateArgs {
    /// The state file
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    state: Option<PathBuf>,
    /// The directory that `herald run` watches with its default state file
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    outbox: OutboxUrl,
}

impl StateArgs {
    pub(crate) fn file(&self) -> Result<PathBuf, Failure> {
        input::state_file(self.state.as_deref(), &self.dir)
    }

    /// Opens the outbox that is meant.
    pub(crate) async fn open(
        &self,
        access: Access,
    ) -> Result<std::sync::Arc<dyn herald_outbox::Outbox>, Failure> {
        self.outbox.open(access, || self.file()).await
    }

    /// What it is called in output.
    pub(crate) fn place(&self) -> Result<String, Failure> {
        match self.outbox.is_shared() {
            true => Ok("the outbox".to_owned()),
            false => self.file().map(|file| file.display().to_string()),
        }
    }
}

/// Arguments of `deliveries`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald deliveries list --dir examples/quickstart --outcome dead-letter")]
pub(crate) struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Subcommand, Debug)]
enum DeliveriesCommand {
    /// List deliveries, newest first
    #[command(after_help = "Example:\n  herald deliveries list --service slack --limit 20")]
    List(Choice),
    /// Show one delivery with its content and all attempts
    #[command(after_help = "Example:\n  herald deliveries show 3f9a0c1b2d4e5f60")]
    Show {
        /// The id of the notice
        id: String,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Queue deliveries again
    #[command(after_help = "Example:\n  herald deliveries resend --outcome dead-letter --service slack")]
    Resend(Choice),
    /// Drop deliveries that wait or were given up
    #[command(after_help = "Example:\n  herald deliveries drop --id 3f9a0c1b2d4e5f60")]
    Drop(Choice),
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

/// Which deliveries are meant.
#[derive(Args, Clone, Debug)]
struct Choice {
    #[command(flatten)]
    state: StateArgs,
    /// Only this notice
    #[arg(long)]
    id: Option<String>,
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
    /// Only about the object of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only about objects of this namespace
    #[arg(long, value_name = "NAME")]
    object_namespace: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl Choice {
    fn filter(&self) -> Filter {
        Filter {
            id: self.id.clone(),
            namespace: self.object_namespace.clone(),
            name: self.name.clone(),
            trigger: self.trigger.clone(),
            service: self.service.clone(),
            recipient: self.recipient.clone(),
            outcome: self.outcome.map(|stands| match stands {
                Stands::Pending => Standing::Pending,
                Stands::Delivered => Standing::Delivered,
                Stands::DeadLetter => Standing::DeadLetter,
                Stands::Dropped => Standing::Dropped,
                Stands::Muted => Standing::Muted,
                Stands::Grouped => Standing::Grouped,
            }),
            limit: Some(self.limit),
            ..Filter::default()
        }
    }

    /// Changing everything must be meant.
    fn some(&self) -> Result<Filter, Failure> {
        let filter = Filter { limit: None, ..self.filter() };
        if filter == Filter::default() {
            return Err(Failure::usage("say which deliveries are meant: --id, --outcome, --service, …"));
        }
        Ok(filter)
    }
}

pub(crate) fn run(args: &DeliveriesArgs) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let now = jiff::Timestamp::now();
    match &args.command {
        DeliveriesCommand::List(choice) => {
            let outbox = runtime.block_on(choice.state.open(Access::ReadOnly))?;
            let entries = runtime.block_on(outbox.list(choice.filter()))?;
            output::print(&listed(&entries))
        }
        DeliveriesCommand::Show { id, state } => {
            let outbox = runtime.block_on(state.open(Access::ReadOnly))?;
            let entry = runtime
                .block_on(outbox.show(id))?
                .ok_or_else(|| Failure::bad(format!("there is no delivery with the id `{id}`")))?;
            output::print(&shown(&entry))
        }
        DeliveriesCommand::Resend(choice) => {
            let filter = choice.some()?;
            let outbox = runtime.block_on(choice.state.open(Access::Guest))?;
            let count = runtime.block_on(outbox.resend(filter, now))?;
            output::print(&format!("{count} queued again\n"))
        }
        DeliveriesCommand::Drop(choice) => {
            let filter = choice.some()?;
            let outbox = runtime.block_on(choice.state.open(Access::Guest))?;
            let count = runtime.block_on(outbox.drop_notices(filter, now))?;
            output::print(&format!("{count} dropped\n"))
        }
    }
}

/// Cells must not hold what parts them.
fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect()
}

fn listed(entries: &[HistoryEntry]) -> String {
    let mut text = String::from("ID\tCREATED\tOBJECT\tTRIGGER\tTO\tOUTCOME\tATTEMPTS\tREASON\n");
    for entry in entries {
        let notice = &entry.notice;
        let to = format!("{}:{}", notice.service, notice.recipient);
        let _ = writeln!(
            text,
            "{}\t{:.0}\t{}/{}\t{}\t{}\t{}\t{}\t{}",
            cell(&notice.id),
            notice.created,
            notice.object.namespace,
            notice.object.name,
            cell(&notice.trigger),
            cell(&to),
            entry.outcome,
            entry.attempts,
            cell(entry.reason.as_deref().unwrap_or_default()),
        );
    }
    table::align(&text).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn shown(entry: &HistoryEntry) -> String {
    let notice = &entry.notice;
    let mut text = format!(
        "id:        {}\nobject:    {} {}/{}\ntrigger:   {}\nto:        {}:{}\ncreated:   {}\noutcome:   {}\nattempts:  {}\n",
        notice.id,
        notice.object.kind,
        notice.object.namespace,
        notice.object.name,
        notice.trigger,
        notice.service,
        notice.recipient,
        notice.created,
        entry.outcome,
        entry.attempts,
    );
    if let Some(answer) = &entry.answer {
        let _ = writeln!(text, "answer:    {answer}");
    }
    for attempt in &entry.failures {
        let _ = writeln!(text, "failed:    {} {}: {}", attempt.at, attempt.reason, attempt.answer);
    }
    if let Ok(content) = crate::pipeline::payload::read(&notice.payload) {
        let shown = herald_services::services::console::print(&content);
        let _ = writeln!(text, "content:");
        for line in shown.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}
