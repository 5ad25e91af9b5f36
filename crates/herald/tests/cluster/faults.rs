//! Faults that a healthy API server can't be made to show, by a proxy before the real one.

use std::time::Duration;

use herald_testkit::{
    api_proxy::{ApiProxy, Fault, Rule},
    apiserver::{Stop, wait_for},
};

use crate::scene::{PATIENCE, Scene, completed, updating};

const TRIGGERS: [&str; 2] = ["on-rollout-completed", "when-healthy"];

/// A namespace with ten rollouts in an update and ten completed ones, Herald behind a proxy.
async fn behind_a_proxy(name: &str) -> Option<(Scene, ApiProxy)> {
    let mut scene = Scene::new(name).await?;
    let proxy = ApiProxy::start(&scene.server.url()).await;
    scene.through(proxy.url());
    scene.configure(&[]).await;
    scene.put_all((0..10).map(|n| updating(&format!("r{n}"), &TRIGGERS))).await;
    scene.put_all((0..10).map(|n| completed(&format!("old{n}"), &TRIGGERS))).await;
    Some((scene, proxy))
}

/// All ten complete, and each of the two triggers of each is told once.
async fn all_complete(scene: &Scene) {
    for n in 0..10 {
        scene.complete(&format!("r{n}")).await;
    }
    told_once(scene).await;
}

async fn told_once(scene: &Scene) {
    scene.deliveries(20).await;
    let told = scene.told();
    assert_eq!(told.len(), 20, "{told:?}\n{}", scene.log());
    for n in 0..10 {
        let name = format!("r{n}");
        let recorded = wait_for(PATIENCE, async || scene.notified(&name).await.len() == 2).await;
        assert!(recorded.is_ok(), "{name}: {:?}\n{}", scene.notified(&name).await, scene.log());
    }
    scene.settled(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_watches_that_are_gone() {
    let Some((scene, proxy)) = behind_a_proxy("gone").await else { return };
    proxy.add(Rule::on("list", "rollouts", Fault::gone()).times(3));
    proxy.add(
        Rule::on("watch", "rollouts", Fault::WatchError { code: 410, reason: "Expired".into() }).times(2),
    );
    proxy.add(Rule::on("watch", "rollouts", Fault::gone()).times(2));
    let herald = scene.herald().await;
    proxy.add(
        Rule::on("watch", "rollouts", Fault::WatchError { code: 410, reason: "Expired".into() }).times(2),
    );
    proxy.cut_connections();
    all_complete(&scene).await;
    assert!(proxy.faulted() >= 4, "{:?}", proxy.counts());
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_cut_in_the_middle_of_an_object() {
    let Some((scene, proxy)) = behind_a_proxy("cut").await else { return };
    for objects in [0, 1, 2, 3] {
        proxy.add(Rule::on("watch", "rollouts", Fault::CutAfter(objects)).times(2));
    }
    let _herald = scene.herald().await;
    all_complete(&scene).await;
    assert!(proxy.faulted() >= 4, "{:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_that_conflict_fail_or_are_too_many() {
    let Some((scene, proxy)) = behind_a_proxy("patches").await else { return };
    proxy.add(Rule::on("patch", "rollouts", Fault::conflict()).times(4));
    proxy.add(Rule::on("patch", "rollouts", Fault::status(500, "InternalError")).times(4));
    proxy.add(Rule::on("patch", "rollouts", Fault::too_many(Duration::from_secs(1))).times(3));
    let _herald = scene.herald().await;
    all_complete(&scene).await;
    assert_eq!(proxy.faulted(), 11, "{:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_whose_answer_is_lost() {
    let Some((scene, proxy)) = behind_a_proxy("lost").await else { return };
    proxy.add(Rule::on("patch", "rollouts", Fault::LoseAnswer).times(6));
    proxy.add(Rule::on("patch", "rollouts", Fault::Drop).times(4));
    let _herald = scene.herald().await;
    all_complete(&scene).await;
    assert_eq!(proxy.faulted(), 10, "{:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_take_five_seconds() {
    let Some((scene, proxy)) = behind_a_proxy("slow").await else { return };
    proxy.add(Rule::on("list", "rollouts", Fault::Delay(Duration::from_secs(5))).times(1));
    proxy.add(Rule::on("watch", "rollouts", Fault::Delay(Duration::from_secs(5))).times(1));
    proxy.add(Rule::on("patch", "rollouts", Fault::Delay(Duration::from_secs(5))).times(3));
    let _herald = scene.herald().await;
    all_complete(&scene).await;
    assert!(proxy.faulted() >= 4, "{:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_dropped_again_and_again() {
    let Some((scene, proxy)) = behind_a_proxy("drops").await else { return };
    proxy.add(Rule::on("*", "*", Fault::Drop).every(3).times(30));
    let _herald = scene.herald().await;
    for n in 0..10 {
        scene.complete(&format!("r{n}")).await;
        proxy.cut_connections();
    }
    told_once(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_list_repeats_nothing() {
    let Some((scene, proxy)) = behind_a_proxy("stale").await else { return };
    let herald = scene.herald().await;
    all_complete(&scene).await;
    scene.sink.clear();
    // The list is what it was at the start: all ten are in the middle of their update again, and have no record.
    proxy.add(Rule::on("list", "rollouts", Fault::Stale).times(2));
    proxy.add(Rule::on("watch", "rollouts", Fault::gone()).times(1));
    proxy.cut_connections();
    let listed = async || proxy.count("list", "rollouts") >= 2 || proxy.count("watch", "rollouts") >= 3;
    assert!(wait_for(PATIENCE, listed).await.is_ok(), "{:?}", proxy.counts());
    scene.settled(0).await;
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
    // A restart that begins with the stale list, too.
    proxy.heal();
    proxy.add(Rule::on("list", "rollouts", Fault::Stale).times(1));
    let _herald = scene.herald().await;
    scene.settled(0).await;
}
