//! `herald schema`: what the keys of the ConfigMap may hold, for editors and checks.

use std::path::PathBuf;

use clap::Args;
use herald_core::{names::nearest, schema};
use herald_services::Registry;

use crate::{
    failure::{Failure, Outcome},
    output,
};

/// Print JSON Schemas of the ConfigMap's keys.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald schema trigger\n  herald schema service.slack\n  herald schema template.slack\n  \
    herald schema --all schemas/"
)]
pub(crate) struct SchemaArgs {
    /// A key of the ConfigMap, such as `trigger`, `service.slack` or `template.email`; without it the keys are listed
    key: Option<String>,
    /// Write all schemas into a directory
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    all: Option<PathBuf>,
}

pub(crate) fn run(args: &SchemaArgs) -> Outcome {
    let registry = Registry::standard();
    let keys = schema::keys(&registry);
    if let Some(dir) = &args.all {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::bad(format!("can't make directory '{}': {error}", dir.display())))?;
        for key in &keys {
            let Some(schema) = schema::of_key(key, &registry) else { continue };
            let path = dir.join(format!("{key}.json"));
            std::fs::write(&path, format!("{schema:#}\n"))
                .map_err(|error| Failure::bad(format!("can't write '{}': {error}", path.display())))?;
        }
        return Ok(());
    }
    let Some(key) = &args.key else { return output::print(&format!("{}\n", keys.join("\n"))) };
    match schema::of_key(key, &registry) {
        Some(schema) => output::print(&format!("{schema:#}\n")),
        None => {
            let near = nearest(key, keys.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "; `herald schema` lists the keys".into(),
                |near| format!("; did you mean `{near}`?"),
            );
            Err(Failure::usage(format!("there is no schema for `{key}`{hint}")))
        }
    }
}
