//! Why a delivery failed, classified once, here, so that only the courier decides about another attempt.

use std::{fmt, sync::Arc, time::Duration};

/// No other side may make us wait longer than this.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The kinds of failure: a closed list, used as metric label and in history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The other side understood and refused: another attempt gives the same answer.
    Rejected,
    /// The other side asks for patience.
    Throttled,
    /// No connection, or a broken one.
    Unreachable,
    /// The other side's certificate is not trusted.
    Untrusted,
    /// No answer in time.
    TimedOut,
    /// The other side failed by itself.
    ServerError,
    /// An answer that makes no sense for this service: half of one, a page of a proxy.
    BadAnswer,
    /// Options, template or recipient can't work.
    Misconfigured,
    /// Refused for good, and to be taken as done: the record of the delivery stays, only a warning is given.
    Settled,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 9] = [
        Reason::Rejected,
        Reason::Throttled,
        Reason::Unreachable,
        Reason::Untrusted,
        Reason::TimedOut,
        Reason::ServerError,
        Reason::BadAnswer,
        Reason::Misconfigured,
        Reason::Settled,
    ];

    /// The label in metrics and history.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Throttled => "throttled",
            Reason::Unreachable => "unreachable",
            Reason::Untrusted => "untrusted",
            Reason::TimedOut => "timed_out",
            Reason::ServerError => "server_error",
            Reason::BadAnswer => "bad_answer",
            Reason::Misconfigured => "misconfigured",
            Reason::Settled => "settled",
        }
    }

    /// Whether another attempt may succeed without a change of the configuration.
    pub fn is_retryable(self) -> bool {
        match self {
            Reason::Throttled
            | Reason::Unreachable
            | Reason::Untrusted
            | Reason::TimedOut
            | Reason::ServerError
            | Reason::BadAnswer => true,
            Reason::Rejected | Reason::Misconfigured | Reason::Settled => false,
        }
    }

    /// What an HTTP status that is no success means.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Reason {
        match status {
            429 => Reason::Throttled,
            _ if retry_after.is_some() => Reason::Throttled,
            501 | 505 => Reason::Rejected,
            408 | 425 | 500..=599 => Reason::ServerError,
            200..=299 => Reason::BadAnswer,
            _ => Reason::Rejected,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A failed delivery. Its text never holds a secret once it has left [`crate::Instance::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// The kind of failure.
    pub reason: Reason,
    /// What happened, in the words of the reference where it has some.
    pub message: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// When the other side asked to be tried again, counted from now and capped.
    pub retry_after: Option<Duration>,
    /// Type and instance, filled in by [`crate::Instance::send`].
    pub sender: Option<(&'static str, Arc<str>)>,
}

impl SendError {
    /// A failure without an answer's status.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        SendError { reason, message: message.into(), status: None, retry_after: None, sender: None }
    }

    /// The other side said no.
    pub fn rejected(message: impl Into<String>) -> Self {
        SendError::new(Reason::Rejected, message)
    }

    /// Options, template or recipient can't work.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        SendError::new(Reason::Misconfigured, message)
    }

    /// The other side asks for patience, maybe for a known time.
    pub fn throttled(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let mut error = SendError::new(Reason::Throttled, message);
        error.retry_after = retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER));
        error
    }

    /// Refused for good and to be taken as done.
    pub fn settled(message: impl Into<String>) -> Self {
        SendError::new(Reason::Settled, message)
    }

    /// An answer that is no success, classified by its status and `Retry-After`.
    pub fn of_status(status: u16, retry_after: Option<Duration>, message: impl Into<String>) -> Self {
        let retry_after = retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER));
        let reason = Reason::of_status(status, retry_after);
        SendError { reason, message: message.into(), status: Some(status), retry_after, sender: None }
    }

    /// The same failure as another kind, where an answer's content says more than its status.
    #[must_use]
    pub fn as_reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// Whether another attempt may succeed without a change of the configuration.
    pub fn is_retryable(&self) -> bool {
        self.reason.is_retryable()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sender {
            Some((service_type, instance)) if **instance == **service_type => {
                // Some messages of the reference begin with the service's name themselves.
                let rest = self.message.strip_prefix(service_type);
                if !rest.is_some_and(|rest| rest.starts_with([':', ' '])) {
                    write!(f, "{service_type}: ")?;
                }
            }
            Some((service_type, instance)) => write!(f, "{service_type} `{instance}`: ")?,
            None => {}
        }
        f.write_str(&self.message)?;
        if let Some(status) = self.status
            && !self.message.contains(&status.to_string())
        {
            write!(f, " (status {status})")?;
        }
        match self.retry_after {
            Some(wait) => write!(f, " (try again in {} s)", wait.as_secs()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_map_to_the_reasons_of_the_specification() {
        let wait = Some(Duration::from_secs(3));
        let table = [
            (400, None, Reason::Rejected, false),
            (401, None, Reason::Rejected, false),
            (403, None, Reason::Rejected, false),
            (404, None, Reason::Rejected, false),
            (408, None, Reason::ServerError, true),
            (410, None, Reason::Rejected, false),
            (413, None, Reason::Rejected, false),
            (422, None, Reason::Rejected, false),
            (425, None, Reason::ServerError, true),
            (429, None, Reason::Throttled, true),
            (429, wait, Reason::Throttled, true),
            (500, None, Reason::ServerError, true),
            (501, None, Reason::Rejected, false),
            (502, None, Reason::ServerError, true),
            (503, wait, Reason::Throttled, true),
            (505, None, Reason::Rejected, false),
        ];
        for (status, retry_after, reason, retryable) in table {
            let error = SendError::of_status(status, retry_after, "x");
            assert_eq!((error.reason, error.is_retryable()), (reason, retryable), "{status} {retry_after:?}");
        }
    }

    #[test]
    fn waiting_is_capped_and_the_text_names_the_status() {
        let mut error = SendError::of_status(429, Some(Duration::from_secs(999_999)), "too fast");
        error.sender = Some(("slack", "work".into()));
        assert_eq!(error.retry_after, Some(LONGEST_RETRY_AFTER));
        assert_eq!(error.to_string(), "slack `work`: too fast (status 429) (try again in 3600 s)");
    }
}
