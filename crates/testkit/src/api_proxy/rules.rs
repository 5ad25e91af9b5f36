//! Which requests meet which fault.

use std::{collections::VecDeque, time::Duration};

use http::{Method, Request};
use serde_json::json;
use url::form_urlencoded;

/// What the proxy does instead of passing a request on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with a Status object; the API server never sees the request.
    Status {
        /// The HTTP status.
        code: u16,
        /// Kubernetes' word for it, such as `Conflict`.
        reason: String,
        /// The header `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// A watch that begins well and whose only event is this error.
    WatchError {
        /// The code in the Status object.
        code: u16,
        /// Kubernetes' word for it.
        reason: String,
    },
    /// Closes the connection; the API server never sees the request.
    Drop,
    /// The API server does what is asked, but the answer is lost.
    LoseAnswer,
    /// Passes the request on after some time.
    Delay(Duration),
    /// Answers a list as it was when it was first asked for.
    Stale,
    /// Cuts a watch in the middle of the object after this number of whole ones.
    CutAfter(usize),
}

impl Fault {
    /// The answer 410: what was asked to be continued is too old.
    pub fn gone() -> Fault {
        Fault::status(410, "Expired")
    }

    /// The answer 409: somebody else changed the object.
    pub fn conflict() -> Fault {
        Fault::status(409, "Conflict")
    }

    /// An answer with some status.
    pub fn status(code: u16, reason: &str) -> Fault {
        Fault::Status { code, reason: reason.into(), retry_after: None }
    }

    /// The answer 429, to be tried again after some whole seconds.
    pub fn too_many(retry_after: Duration) -> Fault {
        Fault::Status { code: 429, reason: "TooManyRequests".into(), retry_after: Some(retry_after) }
    }
}

/// A fault and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    verb: String,
    resource: String,
    skip: usize,
    times: usize,
    every: usize,
    seen: usize,
    fault: Fault,
}

impl Rule {
    /// A fault for every request of a verb (`list`, `watch`, `get`, `create`, `update`, `patch`, `delete`) for a resource
    /// (`rollouts`, `rollouts/status`). `*` is any.
    pub fn on(verb: &str, resource: &str, fault: Fault) -> Rule {
        Rule {
            verb: verb.into(),
            resource: resource.into(),
            skip: 0,
            times: usize::MAX,
            every: 1,
            seen: 0,
            fault,
        }
    }

    /// Only this often.
    #[must_use]
    pub fn times(mut self, times: usize) -> Rule {
        self.times = times;
        self
    }

    /// Only after this many such requests.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Rule {
        self.skip = skip;
        self
    }

    /// Only one in this many.
    #[must_use]
    pub fn every(mut self, every: usize) -> Rule {
        self.every = every.max(1);
        self
    }

    fn fits(&self, asked: &Asked) -> bool {
        (self.verb == "*" || self.verb == asked.verb)
            && (self.resource == "*" || self.resource == asked.resource)
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: String,
    pub(super) resource: String,
    /// Names a list: its path and selectors, without what differs from page to page.
    pub(super) list: String,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Asked {
        let uri = request.uri();
        let mut words = uri.path().split('/').filter(|word| !word.is_empty());
        match words.next() {
            Some("api") => drop(words.next()),
            Some("apis") => drop((words.next(), words.next())),
            _ => {}
        }
        let mut words: Vec<&str> = words.collect();
        if words.first() == Some(&"namespaces") && words.len() > 2 {
            words.drain(..2);
        }
        let mut resource = words.first().copied().unwrap_or_default().to_string();
        if let Some(part) = words.get(2) {
            resource = format!("{resource}/{part}");
        }
        let query: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
        let watch = query.iter().any(|(name, value)| name == "watch" && value != "false" && value != "0");
        let verb = match *request.method() {
            Method::GET if watch => "watch",
            Method::GET if words.len() == 1 => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        let selectors = query.iter().filter(|(name, _)| name.ends_with("Selector"));
        let list =
            selectors.fold(uri.path().to_string(), |list, (name, value)| format!("{list}&{name}={value}"));
        Asked { verb: verb.into(), resource, list }
    }
}

/// The fault for a request, if any.
pub(super) fn take(rules: &mut VecDeque<Rule>, asked: &Asked) -> Option<Fault> {
    for rule in rules.iter_mut() {
        if rule.times == 0 || !rule.fits(asked) {
            continue;
        }
        rule.seen += 1;
        if rule.seen > rule.skip && (rule.seen - rule.skip - 1).is_multiple_of(rule.every) {
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
    }
    None
}

/// A Status object.
pub(super) fn status(code: u16, reason: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": format!("{reason}: a fault of the test's proxy"),
        "reason": reason,
        "code": code,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, target: &str) -> (String, String) {
        let request = Request::builder().method(method).uri(target).body(()).unwrap();
        let asked = Asked::of(&request);
        (asked.verb, asked.resource)
    }

    #[test]
    fn verbs_and_resources() {
        let cases = [
            (Method::GET, "/apis/argoproj.io/v1alpha1/rollouts?limit=5", "list", "rollouts"),
            (Method::GET, "/apis/argoproj.io/v1alpha1/namespaces/a/rollouts?watch=true", "watch", "rollouts"),
            (Method::GET, "/apis/argoproj.io/v1alpha1/namespaces/a/rollouts/r", "get", "rollouts"),
            (
                Method::PATCH,
                "/apis/argoproj.io/v1alpha1/namespaces/a/rollouts/r/status",
                "patch",
                "rollouts/status",
            ),
            (Method::POST, "/api/v1/namespaces/a/events", "create", "events"),
            (Method::GET, "/api/v1/namespaces/a", "get", "namespaces"),
            (Method::GET, "/api/v1/namespaces", "list", "namespaces"),
        ];
        for (method, target, verb, resource) in cases {
            assert_eq!(asked(method, target), (verb.to_string(), resource.to_string()), "{target}");
        }
    }

    #[test]
    fn rules_skip_repeat_and_end() {
        let get = Request::builder().uri("/api/v1/pods").body(()).unwrap();
        let asked = Asked::of(&get);
        let mut rules = VecDeque::from([Rule::on("list", "pods", Fault::Drop).after(1).every(2).times(2)]);
        let faults: Vec<bool> = (0..8).map(|_| take(&mut rules, &asked).is_some()).collect();
        assert_eq!(faults, [false, true, false, true, false, false, false, false]);
    }
}
