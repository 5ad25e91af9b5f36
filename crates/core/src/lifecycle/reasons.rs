//! Everything that a rollout's lifecycle can report: the names, where they come from, what they mean.

use std::borrow::Cow;

use crate::{names::trigger_name, occurrence::EventType};

/// Where the name of an occurrence comes from, and how it can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Argo Rollouts sends it too; here it is derived from the objects.
    Derived,
    /// Argo Rollouts does not send it; it is an addition.
    Ours,
    /// Argo Rollouts sends it, and only its Kubernetes Event shows it.
    EventOnly,
}

/// One reason of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason, as Argo Rollouts writes it.
    pub reason: &'static str,
    /// The trigger that it fires.
    pub trigger: &'static str,
    /// Normal or Warning.
    pub event_type: EventType,
    /// Whose it is.
    pub origin: Origin,
    /// The version of Argo Rollouts that sends it, or an older one, as 1.6 is the oldest that was looked at; empty
    /// for what it does not send.
    pub since: &'static str,
    /// When it happens, in one line.
    pub about: &'static str,
    /// How often, and when not.
    pub often: &'static str,
    /// The facts that it may have besides [`COMMON_FACTS`].
    pub facts: &'static [&'static str],
}

/// Facts that every occurrence may have: the revision, and the images of the present and of the stable version.
pub const COMMON_FACTS: &[&str] = &["revision", "images", "previousImages"];

/// The reason of that name.
pub fn find(reason: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|known| known.reason == reason)
}

/// The trigger that a reason fires. Those that are known need no work, and nearly all are.
pub fn trigger_of(reason: &str) -> Cow<'static, str> {
    match find(reason) {
        Some(known) => Cow::Borrowed(known.trigger),
        None => Cow::Owned(trigger_name(reason)),
    }
}

/// The reason that fires that trigger.
pub fn of_trigger(trigger: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|known| known.trigger == trigger)
}

macro_rules! reasons {
    ($($reason:literal $trigger:literal $kind:ident $origin:ident $since:literal
        $about:literal
        $often:literal [$($fact:literal)*];)*) => {
        /// All reasons: first those that objects show, then the additions, then those that only Events show.
        pub const REASONS: &[Reason] = &[$(Reason {
            reason: $reason,
            trigger: $trigger,
            event_type: EventType::$kind,
            origin: Origin::$origin,
            since: $since,
            about: $about,
            often: $often,
            facts: &[$($fact),*],
        },)*];
    };
}

reasons! {
    "RolloutAddedToInformer" "on-rollout-added-to-informer" Normal Derived "1.6"
        "A rollout was created."
        "Once for each rollout. The reference sends it again at every start of its controller; Herald does not." [];
    "RolloutDeleted" "on-rollout-deleted" Normal Derived "1.6"
        "The rollout was deleted."
        "Once. If nobody looked when it happened, only its revision is known." [];
    "RolloutUpdated" "on-rollout-updated" Normal Derived "1.6"
        "The rollout got a new revision."
        "Once a revision: a new pod template, or a rollback, which gets a new number." [];
    "NewReplicaSetCreated" "on-new-replica-set-created" Normal Derived "1.6"
        "The ReplicaSet of a new pod template was created."
        "Once for each new pod template; not for a rollback to a ReplicaSet that is still there." ["replicaSet"];
    "ReplicaSetCreateError" "on-replica-set-create-error" Warning Derived "1.6"
        "The new ReplicaSet could not be created; once an episode."
        "Once an episode, though the controller tries again and again." ["cause"];
    "RolloutNotCompleted" "on-rollout-not-completed" Normal Derived "1.6"
        "An update began from a completed state, or a canary's first deploy did."
        "Once an update; not when one update replaces another unfinished one, nor at the first deploy of a blue-green rollout." [];
    "RolloutCompleted" "on-rollout-completed" Normal Derived "1.6"
        "A revision became the stable one."
        "Once a revision that becomes stable; at the first deploy before its pods are ready (then wait for `on-rollout-healthy`). Not for a rollback to the version that is still stable, nor for scaling or restarts." ["hash" "previousHash" "completion"];
    "RolloutStepCompleted" "on-rollout-step-completed" Normal Derived "1.6"
        "The controller finished a canary step."
        "Once a step and attempt: a retry goes through the steps again. Not for steps that were skipped, by a person or by a promotion in full." ["step" "steps" "stepText"];
    "SkipSteps" "on-skip-steps" Normal Derived "1.6"
        "All steps were skipped: a rollback to the stable version or inside the rollback window, or edited steps."
        "Once a change; also when only the steps of a finished rollout are edited." [];
    "RolloutPaused" "on-rollout-paused" Normal Derived "1.6"
        "The rollout waits: a pause step, a blue-green pause, an inconclusive analysis."
        "Once a pause. Not for `spec.paused`." ["cause"];
    "RolloutResumed" "on-rollout-resumed" Normal Derived "1.6"
        "The controller ended a pause; not when a person promoted."
        "At most once a pause: its time was over, or an update, a promotion in full or a completion ended it. Not after an abort. For a person's promotion there is `on-rollout-promoted-by-hand`." ["cause"];
    "RolloutAborted" "on-rollout-aborted" Warning Derived "1.6"
        "The update was aborted, by a person, an analysis, an experiment or the deadline."
        "Once an abort; the reference sends two for a passed deadline." ["cause"];
    "ScalingReplicaSet" "on-scaling-replica-set" Normal Derived "1.6"
        "A ReplicaSet of the rollout was scaled."
        "Each change of a ReplicaSet's wanted number of pods: up and down in each update, for canaries at each weight, and for each change by an autoscaler. Changes that nobody saw apart are told as one." ["replicaSet" "from" "to"];
    "AnalysisRunPending" "on-analysis-run-pending" Warning Derived "1.8"
        "An experiment's analysis is waiting."
        "Once an analysis." ["experiment" "analysis" "phase" "cause"];
    "AnalysisRunRunning" "on-analysis-run-running" Normal Derived "1.6"
        "An analysis of the rollout is running."
        "Once an analysis; not if it had ended before anybody looked. Those of experiments since 1.8." ["analysisRun" "kind" "phase" "cause" "experiment" "analysis"];
    "AnalysisRunSuccessful" "on-analysis-run-successful" Normal Derived "1.6"
        "An analysis of the rollout was successful."
        "Once an analysis. Not for one that was cut short because its step, its update or the rollout was over. Those of experiments since 1.8." ["analysisRun" "kind" "phase" "cause" "experiment" "analysis"];
    "AnalysisRunFailed" "on-analysis-run-failed" Warning Derived "1.6"
        "An analysis of the rollout failed."
        "Likewise." ["analysisRun" "kind" "phase" "cause" "experiment" "analysis"];
    "AnalysisRunError" "on-analysis-run-error" Warning Derived "1.6"
        "An analysis of the rollout could not be measured."
        "Likewise." ["analysisRun" "kind" "phase" "cause" "experiment" "analysis"];
    "AnalysisRunInconclusive" "on-analysis-run-inconclusive" Normal Derived "1.6"
        "An analysis of the rollout came to no verdict."
        "Likewise. The rollout then pauses until a person decides." ["analysisRun" "kind" "phase" "cause" "experiment" "analysis"];
    "ExperimentCreated" "on-experiment-created" Normal Derived "1.6"
        "An experiment of the rollout was created."
        "Once an experiment step and attempt." ["experiment"];
    "SwitchService" "on-switch-service" Normal Derived "1.6"
        "Blue-green: the active or preview Service was switched."
        "Blue-green: once for each of the two Services and update. Canary: from Kubernetes Events, so some may be missing; the same switch within a minute is told once." ["service" "from" "to" "role" "count"];
    "TrafficWeightUpdated" "on-traffic-weight-updated" Normal Derived "1.6"
        "The router's weights changed."
        "Each change of the weights, hashes or additional destinations in the status; also to the new version at an unchanged weight, and back to 0 at the end. Once, however many routers there are." ["weight"];
    "StepPluginTransition" "on-step-plugin-transition" Normal Derived "1.8"
        "A step plugin changed its phase."
        "Once for each phase that was seen; not for the success of a run, which completes the step." ["plugin" "phase"];

    "RolloutRetry" "on-rollout-retry" Normal Ours ""
        "An aborted update was started again."
        "Once an abort at most." [];
    "RolloutRollback" "on-rollout-rollback" Normal Ours ""
        "The new revision is a version that was there before."
        "Once for each rollback, besides `on-rollout-updated`." [];
    "RolloutPromotedByHand" "on-rollout-promoted-by-hand" Normal Ours ""
        "A person ended a pause."
        "At most once a pause. The reference says nothing there." ["cause"];
    "RolloutPromoteFull" "on-rollout-promote-full" Normal Ours ""
        "A person promoted the rollout in full."
        "Once an attempt. Before Argo Rollouts 1.10 only if it was seen while it lasted." [];
    "RolloutStepSkipped" "on-rollout-step-skipped" Normal Ours ""
        "A person skipped a step, or all of them."
        "Once for each step that a person skipped." ["step" "steps"];
    "RolloutWeightSet" "on-rollout-weight-set" Normal Ours ""
        "Canary without a router: the wanted weight changed."
        "Each change: at a `setWeight` step, to 100 at the end, to 0 at an abort or a new update." ["weight"];
    "RolloutRestarted" "on-rollout-restarted" Normal Ours ""
        "A restart of all pods is done."
        "Once a restart; several in a row may be told as one." [];
    "ProgressDeadlineExceeded" "on-progress-deadline-exceeded" Warning Ours ""
        "No progress within the deadline."
        "Once an episode. The rollout may still recover." ["cause"];
    "InvalidSpec" "on-invalid-spec" Warning Ours ""
        "The specification of the rollout is invalid."
        "Once for each episode and text." ["cause"];
    "RolloutHealthy" "on-rollout-healthy" Normal Ours ""
        "The phase became Healthy."
        "Each time the phase changes to it: all pods of the stable version are available." [];
    "RolloutDegraded" "on-rollout-degraded" Warning Ours ""
        "The phase became Degraded."
        "Each time the phase changes to it: aborted, deadline exceeded, or invalid." [];
    "ReplicaSetNotAvailable" "on-replica-set-not-available" Warning Ours ""
        "A finished rollout lacks pods."
        "Once an episode; also while a finished rollout is scaled up." ["cause"];
    "ExperimentPending" "on-experiment-pending" Normal Ours ""
        "An experiment of the rollout is waiting."
        "Once an experiment and phase, if it was seen." ["experiment"];
    "ExperimentRunning" "on-experiment-running" Normal Ours ""
        "An experiment of the rollout is running."
        "Once an experiment and phase, if it was seen." ["experiment"];
    "ExperimentSuccessful" "on-experiment-successful" Normal Ours ""
        "An experiment of the rollout was successful."
        "Once an experiment and phase, if it was seen." ["experiment"];
    "ExperimentFailed" "on-experiment-failed" Warning Ours ""
        "An experiment of the rollout failed."
        "Once an experiment and phase, if it was seen." ["experiment"];
    "ExperimentError" "on-experiment-error" Warning Ours ""
        "An experiment of the rollout broke."
        "Once an experiment and phase, if it was seen." ["experiment"];
    "ExperimentInconclusive" "on-experiment-inconclusive" Normal Ours ""
        "An experiment of the rollout came to no verdict."
        "Once an experiment and phase, if it was seen." ["experiment"];

    "TrafficRoutingError" "on-traffic-routing-error" Warning EventOnly "1.6"
        "The router could not be set."
        "" ["cause" "count"];
    "WeightVerifyError" "on-weight-verify-error" Warning EventOnly "1.6"
        "The router's weight could not be verified."
        "" ["cause" "count"];
    "ReconciliationError" "on-reconciliation-error" Warning EventOnly "1.8"
        "A step plugin could not be found or called."
        "" ["cause" "count"];
    "TargetGroupVerified" "on-target-group-verified" Normal EventOnly "1.6"
        "An AWS target group has what it should have."
        "" ["cause" "count"];
    "TargetGroupUnverified" "on-target-group-unverified" Warning EventOnly "1.6"
        "An AWS target group lacks endpoints or weight."
        "" ["cause" "count"];
    "TargetGroupVerifyError" "on-target-group-verify-error" Warning EventOnly "1.6"
        "An AWS target group could not be verified."
        "" ["cause" "count"];
    "LoadBalancerNotFound" "on-load-balancer-not-found" Warning EventOnly "1.6"
        "A load balancer could not be found."
        "" ["cause" "count"];
    "PatchingALBIngress" "on-patching-alb-ingress" Normal EventOnly "1.6"
        "An ALB Ingress is being patched."
        "" ["cause" "count"];
    "CreatingCanaryIngress" "on-creating-canary-ingress" Normal EventOnly "1.6"
        "nginx: the canary Ingress is being created."
        "" ["cause" "count"];
    "PatchingCanaryIngress" "on-patching-canary-ingress" Normal EventOnly "1.6"
        "nginx: the canary Ingress is being patched."
        "" ["cause" "count"];
    "UpdatedDestinationRule" "on-updated-destination-rule" Normal EventOnly "1.6"
        "Istio: a DestinationRule changed."
        "" ["cause" "count"];
    "VirtualServiceNotFound" "on-virtual-service-not-found" Warning EventOnly "1.6"
        "A VirtualService is missing."
        "" ["cause" "count"];
    "DestinationRuleNotFound" "on-destination-rule-not-found" Warning EventOnly "1.6"
        "A DestinationRule is missing."
        "" ["cause" "count"];
    "VirtualRouterNotFound" "on-virtual-router-not-found" Warning EventOnly "1.6"
        "App Mesh: the virtual router is missing."
        "" ["cause" "count"];
    "VirtualNodeNotFound" "on-virtual-node-not-found" Warning EventOnly "1.6"
        "App Mesh: a virtual node is missing."
        "" ["cause" "count"];
    "TrafficSplitCreated" "on-traffic-split-created" Normal EventOnly "1.6"
        "SMI: the split was created."
        "" ["cause" "count"];
    "TrafficSplitNotCreated" "on-traffic-split-not-created" Warning EventOnly "1.6"
        "SMI: the split could not be created."
        "" ["cause" "count"];
    "CanaryMappingWeightUpdate" "on-canary-mapping-weight-update" Normal EventOnly "1.6"
        "Ambassador: a weight is being set."
        "" ["cause" "count"];
    "CanaryMappingUpdateError" "on-canary-mapping-update-error" Warning EventOnly "1.6"
        "Ambassador: a mapping could not be updated."
        "" ["cause" "count"];
    "CanaryMappingCleanupError" "on-canary-mapping-cleanup-error" Warning EventOnly "1.6"
        "Ambassador: a mapping could not be removed."
        "" ["cause" "count"];
    "CanaryMappingCreationError" "on-canary-mapping-creation-error" Warning EventOnly "1.6"
        "Ambassador: a mapping could not be created."
        "" ["cause" "count"];
    "AmbassadorMappingNotFound" "on-ambassador-mapping-not-found" Warning EventOnly "1.6"
        "Ambassador: the base mapping is missing."
        "" ["cause" "count"];
    "AmbassadorMappingConfigError" "on-ambassador-mapping-config-error" Warning EventOnly "1.6"
        "Ambassador: the base mapping has a weight of its own."
        "" ["cause" "count"];
    "ApisixRouteUpdateError" "on-apisix-route-update-error" Warning EventOnly "1.6"
        "APISIX: a route could not be updated."
        "" ["cause" "count"];
    "ApisixRouteCreateError" "on-apisix-route-create-error" Warning EventOnly "1.6"
        "APISIX: a route could not be created."
        "" ["cause" "count"];
    "ApisixRouteDeleteError" "on-apisix-route-delete-error" Warning EventOnly "1.6"
        "APISIX: a route could not be deleted."
        "" ["cause" "count"];
    "TraefikServiceUpdateError" "on-traefik-service-update-error" Warning EventOnly "1.6"
        "Traefik: the service could not be updated."
        "" ["cause" "count"];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let reasons: HashSet<_> = REASONS.iter().map(|r| r.reason).collect();
        let triggers: HashSet<_> = REASONS.iter().map(|r| r.trigger).collect();
        assert_eq!((reasons.len(), triggers.len()), (REASONS.len(), REASONS.len()));
        assert_eq!(find("RolloutStepCompleted").map(|r| r.trigger), Some("on-rollout-step-completed"));
        assert_eq!(of_trigger("on-rollout-retry").map(|r| r.origin), Some(Origin::Ours));
        assert_eq!(find("Nothing"), None);
    }
}
