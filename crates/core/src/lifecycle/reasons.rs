//! Everything that a rollout's lifecycle can report: the names, where they come from, what they mean.

use crate::occurrence::EventType;

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
    /// When it happens, in one line.
    pub about: &'static str,
}

/// The reason of that name.
pub fn find(reason: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|known| known.reason == reason)
}

/// The reason that fires that trigger.
pub fn of_trigger(trigger: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|known| known.trigger == trigger)
}

macro_rules! reasons {
    ($($reason:literal $trigger:literal $kind:ident $origin:ident $about:literal;)*) => {
        /// All reasons: first those that objects show, then the additions, then those that only Events show.
        pub const REASONS: &[Reason] = &[$(Reason {
            reason: $reason,
            trigger: $trigger,
            event_type: EventType::$kind,
            origin: Origin::$origin,
            about: $about,
        },)*];
    };
}

reasons! {
    "RolloutAddedToInformer" "on-rollout-added-to-informer" Normal Derived "A rollout was created.";
    "RolloutDeleted" "on-rollout-deleted" Normal Derived "The rollout was deleted.";
    "RolloutUpdated" "on-rollout-updated" Normal Derived "The rollout got a new revision.";
    "NewReplicaSetCreated" "on-new-replica-set-created" Normal Derived "The ReplicaSet of a new pod template was created.";
    "ReplicaSetCreateError" "on-replica-set-create-error" Warning Derived "The new ReplicaSet could not be created; once an episode.";
    "RolloutNotCompleted" "on-rollout-not-completed" Normal Derived "An update began from a completed state, or a canary's first deploy did.";
    "RolloutCompleted" "on-rollout-completed" Normal Derived "A revision became the stable one.";
    "RolloutStepCompleted" "on-rollout-step-completed" Normal Derived "The controller finished a canary step.";
    "SkipSteps" "on-skip-steps" Normal Derived "All steps were skipped: a rollback to the stable version or inside the rollback window, or edited steps.";
    "RolloutPaused" "on-rollout-paused" Normal Derived "The rollout waits: a pause step, a blue-green pause, an inconclusive analysis.";
    "RolloutResumed" "on-rollout-resumed" Normal Derived "The controller ended a pause; not when a person promoted.";
    "RolloutAborted" "on-rollout-aborted" Warning Derived "The update was aborted, by a person, an analysis, an experiment or the deadline.";
    "ScalingReplicaSet" "on-scaling-replica-set" Normal Derived "A ReplicaSet of the rollout was scaled.";
    "AnalysisRunPending" "on-analysis-run-pending" Warning Derived "An experiment's analysis is waiting.";
    "AnalysisRunRunning" "on-analysis-run-running" Normal Derived "An analysis of the rollout is running.";
    "AnalysisRunSuccessful" "on-analysis-run-successful" Normal Derived "An analysis of the rollout was successful.";
    "AnalysisRunFailed" "on-analysis-run-failed" Warning Derived "An analysis of the rollout failed.";
    "AnalysisRunError" "on-analysis-run-error" Warning Derived "An analysis of the rollout could not be measured.";
    "AnalysisRunInconclusive" "on-analysis-run-inconclusive" Normal Derived "An analysis of the rollout came to no verdict.";
    "ExperimentCreated" "on-experiment-created" Normal Derived "An experiment of the rollout was created.";
    "SwitchService" "on-switch-service" Normal Derived "Blue-green: the active or preview Service was switched.";
    "TrafficWeightUpdated" "on-traffic-weight-updated" Normal Derived "The router's weights changed.";
    "StepPluginTransition" "on-step-plugin-transition" Normal Derived "A step plugin changed its phase.";

    "RolloutRetry" "on-rollout-retry" Normal Ours "An aborted update was started again.";
    "RolloutRollback" "on-rollout-rollback" Normal Ours "The new revision is a version that was there before.";
    "RolloutPromotedByHand" "on-rollout-promoted-by-hand" Normal Ours "A person ended a pause.";
    "RolloutPromoteFull" "on-rollout-promote-full" Normal Ours "A person promoted the rollout in full.";
    "RolloutStepSkipped" "on-rollout-step-skipped" Normal Ours "A person skipped a step, or all of them.";
    "RolloutWeightSet" "on-rollout-weight-set" Normal Ours "Canary without a router: the wanted weight changed.";
    "RolloutRestarted" "on-rollout-restarted" Normal Ours "A restart of all pods is done.";
    "ProgressDeadlineExceeded" "on-progress-deadline-exceeded" Warning Ours "No progress within the deadline.";
    "InvalidSpec" "on-invalid-spec" Warning Ours "The specification of the rollout is invalid.";
    "RolloutHealthy" "on-rollout-healthy" Normal Ours "The phase became Healthy.";
    "RolloutDegraded" "on-rollout-degraded" Warning Ours "The phase became Degraded.";
    "ReplicaSetNotAvailable" "on-replica-set-not-available" Warning Ours "A finished rollout lacks pods.";
    "ExperimentPending" "on-experiment-pending" Normal Ours "An experiment of the rollout is waiting.";
    "ExperimentRunning" "on-experiment-running" Normal Ours "An experiment of the rollout is running.";
    "ExperimentSuccessful" "on-experiment-successful" Normal Ours "An experiment of the rollout was successful.";
    "ExperimentFailed" "on-experiment-failed" Warning Ours "An experiment of the rollout failed.";
    "ExperimentError" "on-experiment-error" Warning Ours "An experiment of the rollout broke.";
    "ExperimentInconclusive" "on-experiment-inconclusive" Normal Ours "An experiment of the rollout came to no verdict.";

    "TrafficRoutingError" "on-traffic-routing-error" Warning EventOnly "The router could not be set.";
    "WeightVerifyError" "on-weight-verify-error" Warning EventOnly "The router's weight could not be verified.";
    "ReconciliationError" "on-reconciliation-error" Warning EventOnly "A step plugin could not be found or called.";
    "TargetGroupVerified" "on-target-group-verified" Normal EventOnly "An AWS target group has what it should have.";
    "TargetGroupUnverified" "on-target-group-unverified" Warning EventOnly "An AWS target group lacks endpoints or weight.";
    "TargetGroupVerifyError" "on-target-group-verify-error" Warning EventOnly "An AWS target group could not be verified.";
    "LoadBalancerNotFound" "on-load-balancer-not-found" Warning EventOnly "A load balancer could not be found.";
    "PatchingALBIngress" "on-patching-alb-ingress" Normal EventOnly "An ALB Ingress is being patched.";
    "CreatingCanaryIngress" "on-creating-canary-ingress" Normal EventOnly "nginx: the canary Ingress is being created.";
    "PatchingCanaryIngress" "on-patching-canary-ingress" Normal EventOnly "nginx: the canary Ingress is being patched.";
    "UpdatedDestinationRule" "on-updated-destination-rule" Normal EventOnly "Istio: a DestinationRule changed.";
    "VirtualServiceNotFound" "on-virtual-service-not-found" Warning EventOnly "A VirtualService is missing.";
    "DestinationRuleNotFound" "on-destination-rule-not-found" Warning EventOnly "A DestinationRule is missing.";
    "VirtualRouterNotFound" "on-virtual-router-not-found" Warning EventOnly "App Mesh: the virtual router is missing.";
    "VirtualNodeNotFound" "on-virtual-node-not-found" Warning EventOnly "App Mesh: a virtual node is missing.";
    "TrafficSplitCreated" "on-traffic-split-created" Normal EventOnly "SMI: the split was created.";
    "TrafficSplitNotCreated" "on-traffic-split-not-created" Warning EventOnly "SMI: the split could not be created.";
    "CanaryMappingWeightUpdate" "on-canary-mapping-weight-update" Normal EventOnly "Ambassador: a weight is being set.";
    "CanaryMappingUpdateError" "on-canary-mapping-update-error" Warning EventOnly "Ambassador: a mapping could not be updated.";
    "CanaryMappingCleanupError" "on-canary-mapping-cleanup-error" Warning EventOnly "Ambassador: a mapping could not be removed.";
    "CanaryMappingCreationError" "on-canary-mapping-creation-error" Warning EventOnly "Ambassador: a mapping could not be created.";
    "AmbassadorMappingNotFound" "on-ambassador-mapping-not-found" Warning EventOnly "Ambassador: the base mapping is missing.";
    "AmbassadorMappingConfigError" "on-ambassador-mapping-config-error" Warning EventOnly "Ambassador: the base mapping has a weight of its own.";
    "ApisixRouteUpdateError" "on-apisix-route-update-error" Warning EventOnly "APISIX: a route could not be updated.";
    "ApisixRouteCreateError" "on-apisix-route-create-error" Warning EventOnly "APISIX: a route could not be created.";
    "ApisixRouteDeleteError" "on-apisix-route-delete-error" Warning EventOnly "APISIX: a route could not be deleted.";
    "TraefikServiceUpdateError" "on-traefik-service-update-error" Warning EventOnly "Traefik: the service could not be updated.";
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
