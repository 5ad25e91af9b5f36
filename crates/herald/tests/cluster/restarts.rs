//! The API server goes away and comes back; history is compacted.

use herald_testkit::{
    api_proxy::{ApiProxy, Fault, Rule},
    apiserver::{Api, Stop, wait_for},
};

use crate::scene::{PATIENCE, Scene, completed, updating};

const TRIGGERS: [&str; 2] = ["on-rollout-completed", "when-healthy"];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_restarts_three_times() {
    let Some(scene) = Scene::own("restarts").await else { return };
    scene.configure(&[]).await;
    scene.put_all((0..24).map(|n| updating(&format!("r{n}"), &TRIGGERS))).await;
    let herald = scene.herald().await;
    for (round, how) in [Stop::Gently, Stop::Hard, Stop::Hard].into_iter().enumerate() {
        for n in 0..4 {
            scene.complete(&format!("r{}", round * 8 + n)).await;
        }
        // In the middle of what follows from that.
        scene.server.restart(how).await;
        for n in 4..8 {
            scene.complete(&format!("r{}", round * 8 + n)).await;
        }
    }
    scene.deliveries(48).await;
    let told = scene.told();
    assert_eq!(told.len(), 48, "{told:?}");
    scene.settled(48).await;
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_history_is_listed_anew_and_nothing_is_sent_again() {
    let Some(mut scene) = Scene::own("compacted").await else { return };
    let proxy = ApiProxy::start(&scene.server.url()).await;
    scene.through(proxy.url());
    scene.configure(&[]).await;
    scene.put_all((0..10).map(|n| updating(&format!("r{n}"), &TRIGGERS))).await;
    scene.put_all((0..20).map(|n| completed(&format!("old{n}"), &TRIGGERS))).await;
    let herald = scene.herald().await;
    scene.complete("r0").await;
    scene.deliveries(2).await;

    // Herald is cut off; meanwhile things change, and history is forgotten.
    let list = Api::done(scene.api.get(&format!("{}?limit=1", Api::rollouts(&scene.namespace))).await);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    proxy.add(Rule::on("*", "*", Fault::Drop));
    proxy.cut_connections();
    for n in 1..6 {
        scene.complete(&format!("r{n}")).await;
    }
    scene.api.delete(&format!("{}/r9", Api::rollouts(&scene.namespace))).await;
    scene.server.compact().await;
    scene.server.restart(Stop::Gently).await;
    let watch =
        format!("{}?watch=true&timeoutSeconds=2&resourceVersion={version}", Api::rollouts(&scene.namespace));
    let gone = async || {
        let (status, answer) = scene.api.get(&watch).await;
        status == 410 || answer["object"]["code"] == 410
    };
    assert!(wait_for(PATIENCE, gone).await.is_ok(), "a watch from before is refused");
    proxy.heal();

    scene.deliveries(12).await;
    let told = scene.told();
    assert_eq!(told.len(), 12, "{told:?}\n{}", scene.log());
    scene.settled(12).await;
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
}
