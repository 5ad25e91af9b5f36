//! `herald ui`: the page over a store that is there, without running anything.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use herald_outbox::Access;

use super::{deliveries::StateArgs, run::interrupted};
use crate::{
    failure::{Failure, Outcome},
    input::ConfigArgs,
    pipeline::{
        configuration::{self, Builder},
        report::Reporter,
    },
    scene::Scene,
    ui::{Shelf, UiPlace},
};

/// Arguments of `ui`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald ui manifests/\n  herald ui --state /var/lib/herald/state.db\n\nThe page of a state file, also \
                  beside a `herald run` that delivers from it. With a directory it also shows the Rollouts and the \
                  configuration that are in it now. Nothing is delivered; what is sent again waits for `herald run`."
)]
pub(crate) struct UiArgs {
    /// The directory that `herald run` watches
    #[arg(value_name = "DIR")]
    place: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    ui: UiPlace,
}

pub(crate) fn run(args: &UiArgs, config: &ConfigArgs) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        // A state file beside a directory: the store is the file, and the directory tells of the rest.
        let state = match &args.place {
            Some(place) if !args.state.is_named() => args.state.or_at(Some(place))?,
            _ => args.state.clone(),
        };
        let outbox = match state.open(Access::Guest).await {
            // A copy that can't be written is still worth looking at.
            Err(_) if !state.is_shared() => state.open(Access::ReadOnly).await?,
            other => other?,
        };
        let shelf = Arc::new(Shelf::default());
        let reporter = Reporter::default();
        let dir = args.place.as_ref().filter(|place| place.is_dir()).or(state.directory());
        if let Some(dir) = dir {
            show(&Scene::read(&dir.to_string_lossy())?, config, &reporter, &shelf)?;
        } else if config.config_map.is_some() {
            show(&Scene::default(), config, &reporter, &shelf)?;
        }
        args.ui.serve(outbox, shelf, None).await?;
        interrupted().await;
        Ok(())
    })
}

/// Puts what a scene holds on the shelf.
fn show(scene: &Scene, config: &ConfigArgs, reporter: &Reporter, shelf: &Shelf) -> Result<(), Failure> {
    let input = configuration::input(config, &scene.world, reporter)?;
    let active =
        Builder::new(Box::<herald_services::handles::MemoryHandles>::default()).build(&input, None, reporter);
    shelf.configured(&active);
    for key in scene.world.rollouts() {
        shelf.looked(&scene.world.look(&key), &active);
    }
    Ok(())
}
