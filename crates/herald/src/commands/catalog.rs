//! `herald catalog`

use std::fmt::Write as _;

use clap::Args;
use herald_core::{catalog, config::CONFIG_MAP};

use crate::{
    failure::{Failure, Outcome},
    output,
};

/// Arguments of `catalog`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  herald catalog trigger.on-rollout-completed\n  herald catalog > notifications.yaml"
)]
pub(crate) struct CatalogArgs {
    /// Only these keys, such as `template.rollout-completed`
    keys: Vec<String>,
}

pub(crate) fn run(args: &CatalogArgs) -> Outcome {
    let data = catalog::data();
    if let Some(unknown) = args.keys.iter().find(|key| !data.contains_key(*key)) {
        let near = herald_core::names::nearest(unknown, data.keys().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::bad(format!("the catalog has no key `{unknown}`{hint}")));
    }
    let mut out = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {CONFIG_MAP}\ndata:\n");
    for (key, text) in data.iter().filter(|(key, _)| args.keys.is_empty() || args.keys.contains(key)) {
        let _ = writeln!(out, "  {key}: |");
        for line in text.lines() {
            let _ = writeln!(out, "{}", format!("    {line}").trim_end());
        }
    }
    output::print(&out)
}
