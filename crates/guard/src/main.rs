//! What `cargo xtask guard` counts the instructions of: one chore, a fixed number of times. A crate of its own, so that
//! little has to be built for it.

use std::error::Error;

use herald_expr::Program;
use herald_outbox::{Access, Batch, Notice, ObjectRef, Outbox, Receipt, SqliteOutbox, StateEntry};
use herald_template::Template;
use herald_value::{Numbers, Value, limits::Limits, vector};

const TIMES: usize = 200;

const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_790_000_000, 0);

const CONDITIONS: [&str; 8] = [
    "rollout.status.phase == 'Degraded'",
    "rollout.status.phase in ['Degraded', 'Error'] and rollout.spec.replicas > 1",
    "rollout.status.availableReplicas == rollout.spec.replicas",
    "any(rollout.status.conditions, .type == 'Progressing' and .status == 'True')",
    "rollout.status?.canary?.weights?.canary?.weight ?? 0",
    "rollout.metadata.labels['app'] matches '^[a-z]+$'",
    "time.Now().Sub(time.Parse(rollout.metadata.creationTimestamp)).Minutes() >= 5",
    "len(filter(rollout.spec.template.spec.containers, .name != 'sidecar')) > 0",
];

const TEMPLATES: [&str; 6] = [
    "Rollout {{.rollout.metadata.name}} is {{.rollout.status.phase}}.",
    "{{range .rollout.status.conditions}}{{.type}}={{.status}} {{end}}",
    "{{if eq .rollout.status.phase \"Healthy\"}}ok{{else}}{{.rollout.status.message | default \"-\" | upper}}{{end}}",
    "{{range $i, $c := .rollout.spec.template.spec.containers}}{{if $i}}, {{end}}{{$c.name}}:{{$c.image}}{{end}}",
    "{{printf \"%s/%s\" .rollout.metadata.namespace .rollout.metadata.name | quote}}",
    "{{.rollout.spec.strategy | toJson}}",
];

fn main() -> Result<(), Box<dyn Error>> {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let text = include_bytes!("../../../conformance/vectors/envs/canary.json");
    let env = vector::environment(text, Numbers::Kubernetes, Some("argocd"), NOW)?;
    let limits = Limits::DEFAULT;
    let programs: Vec<_> =
        CONDITIONS.iter().map(|s| Program::compile(s, limits)).collect::<Result<_, _>>()?;
    let templates: Vec<_> =
        TEMPLATES.iter().map(|s| Template::parse("t", s, limits)).collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    // Once before counting: what is made at first use belongs to no chore.
    for program in &programs {
        let _ = program.run_at(&env, limits, NOW);
    }
    for template in &templates {
        template.render_at(&env, limits, NOW, &mut out)?;
    }
    if chore == "enqueue" {
        return enqueue();
    }
    for _ in 0..TIMES {
        match chore.as_str() {
            "decode" => drop(std::hint::black_box(Value::from_json(text)?)),
            "compile" => {
                for source in CONDITIONS {
                    drop(std::hint::black_box(Program::compile(source, limits)?));
                }
            }
            "parse" => {
                for source in TEMPLATES {
                    drop(std::hint::black_box(Template::parse("t", source, limits)?));
                }
            }
            "decide" => {
                for program in &programs {
                    let _ = std::hint::black_box(program.run_at(&env, limits, NOW));
                }
            }
            "render" => {
                for template in &templates {
                    out.clear();
                    template.render_at(&env, limits, NOW, &mut out)?;
                }
            }
            // What the other counts begin with.
            "nothing" => return Ok(()),
            other => return Err(format!("there is no chore `{other}`").into()),
        }
    }
    Ok(())
}

/// Notices into the state file and out of it, one after another: groups of whatever waits would be others each time.
fn enqueue() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let outbox = SqliteOutbox::open(dir.path().join("state.db"), Access::Owner)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 0..TIMES {
            let name = format!("web-{}", number % 20);
            let id = format!("{number:032}");
            let notice = Notice {
                id: id.clone(),
                object: ObjectRef { namespace: "prod".into(), kind: "Rollout".into(), name, uid: "u".into() },
                trigger: "on-rollout-completed".into(),
                service: "slack".into(),
                recipient: "deploys".into(),
                created: NOW,
                due_after: NOW,
                payload: vec![b'x'; 1024],
            };
            let known = StateEntry { scope: "rollout".into(), key: id.clone(), value: vec![b'x'; 512] };
            let batch = Batch { enqueue: vec![notice], put_state: vec![known], ..Batch::default() };
            outbox.commit(batch).await?;
            let receipt = Receipt { at: NOW, took: Default::default(), detail: String::new() };
            outbox.delivered(&id, receipt).await?;
        }
        Ok(())
    })
}
