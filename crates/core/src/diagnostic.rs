//! What is wrong with a configuration or an annotation, where, and what to do about it.

use std::fmt;

use crate::yaml::Position;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The entry is not used.
    Error,
    /// The entry is used, but probably not as meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// The stable codes of diagnostics.
pub mod codes {
    macro_rules! codes {
        ($($name:ident $code:literal $about:literal;)*) => {
            $(#[doc = $about] pub const $name: &str = $code;)*
            /// All codes, each with what it means.
            pub const ALL: &[(&str, &str)] = &[$(($code, $about),)*];
        };
    }
    codes! {
        YAML "HD001" "The value is not valid YAML.";
        DUPLICATE_KEY "HD002" "A key comes twice in a map; the last one is used.";
        KEY "HD003" "A key of the ConfigMap has a form that is not known.";
        SERVICE_TYPE "HD004" "There is no service of that type.";
        SERVICE_OPTIONS "HD005" "The options of a service are wrong.";
        SECRET_KEY "HD006" "The Secret has no key of that name; the text stays as it is.";
        TEMPLATE "HD007" "A template, or its section for a service, is wrong.";
        TRIGGER "HD008" "A trigger is not a list of conditions.";
        UNKNOWN_FIELD "HD009" "A field is not known, and is ignored.";
        CONDITION "HD010" "The expression of a `when` cannot be compiled.";
        ONCE_PER "HD011" "The expression of a `oncePer` cannot be compiled.";
        UNKNOWN_TEMPLATE "HD012" "A condition names a template that is not there.";
        UNKNOWN_TRIGGER "HD013" "A subscription names a trigger that is not there.";
        UNKNOWN_SERVICE "HD014" "A subscription names a service that is not configured.";
        SELECTOR "HD015" "A label selector cannot be read.";
        SUBSCRIPTION "HD016" "A subscription has the wrong form.";
        DURATION "HD017" "A duration cannot be read.";
        DEFAULT_TRIGGERS "HD018" "`defaultTriggers` is not a list of trigger names.";
        NEAR_MISS "HD019" "An annotation looks like a subscription, but is none.";
        SEND_NOTHING "HD020" "A condition names no template, so it never sends anything.";
        DUPLICATE_SERVICE "HD021" "Two services have the same instance name; the later key is used.";
        TIMING "HD022" "`for`, `resolve` or `repeatEvery` stand in a condition without a `when`.";
        UNKNOWN_VARIABLE "HD023" "A template or an expression reads a variable that there is not.";
        UNKNOWN_PATH "HD024" "A template or an expression reads a field that the object can't have.";
        NEVER_TRUE "HD025" "A condition can never be true, or a part of it is always the same.";
        RENDER_FAILS "HD026" "A template fails when it is rendered for sample rollouts.";
        NO_VALUE "HD027" "A template prints `<no value>` for sample rollouts.";
        RENDERED_JSON "HD028" "A field that must hold JSON renders to something else.";
        JSON_ESCAPE "HD029" "Quotes or line breaks in a value break the JSON around it.";
        TOO_LONG "HD030" "A rendered notification is larger than the service takes.";
        DEPRECATED "HD031" "The service, or the way it is used, has come to its end.";
        NEVER_FIRES "HD032" "A trigger has no `when`, and no event has its name, so it never fires.";
        MANIFEST "HD033" "A manifest is not what Kubernetes or the notifications can use.";
        COMPAT "HD034" "The reference behaves otherwise here.";
        IGNORED_KEY "HD035" "A key of the ConfigMap is ignored, but looks as if it were meant.";
        SECRET_DATA "HD036" "A value of the Secret can't be used as it stands.";
        CREDENTIAL "HD037" "A credential stands in the ConfigMap, where everybody can read it.";
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code, `HDnnn`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The object, such as `ConfigMap argo-rollouts/argo-rollouts-notification-configmap`.
    pub object: String,
    /// The file, if it came from one.
    pub file: Option<String>,
    /// The key of the ConfigMap, or the annotation.
    pub key: Option<String>,
    /// Where in the key's value.
    pub at: Position,
    /// The line of the value at that place, or that of the file where [`Diagnostic::in_file`] is known.
    pub source_line: String,
    /// Where in the file, if that is known.
    pub in_file: Option<Position>,
}

impl Diagnostic {
    /// A finding without a place.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity,
            code,
            message: message.into(),
            hint: None,
            object: String::new(),
            file: None,
            key: None,
            at: Position::default(),
            source_line: String::new(),
            in_file: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in a value.
    #[must_use]
    pub fn at(mut self, source: &str, at: Position) -> Diagnostic {
        self.at = at;
        let line = (at.line as usize).checked_sub(1).and_then(|line| source.lines().nth(line));
        self.source_line = line.unwrap_or_default().to_owned();
        self
    }
}

/// The longest source line that is shown whole.
const SHOWN: usize = 160;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity.as_str(), self.code, self.message)?;
        let file = match (self.file.as_deref(), self.in_file) {
            (Some(file), Some(at)) => Some(format!("{file}:{}:{}", at.line, at.column)),
            (file, _) => file.map(str::to_owned),
        };
        let places = [file.as_deref(), Some(self.object.as_str()), self.key.as_deref()];
        let mut place = places.into_iter().flatten().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ");
        let at = self.in_file.unwrap_or(self.at);
        if self.in_file.is_none() && !at.is_unknown() {
            place.push_str(&format!(", line {}, column {}", at.line, at.column));
        }
        let width = at.line.to_string().len();
        if !place.is_empty() {
            writeln!(f, "{:width$}--> {place}", "")?;
        }
        if !at.is_unknown() && !self.source_line.trim().is_empty() {
            let column = (at.column as usize).saturating_sub(1);
            // A long line is shown from near the place on.
            let skip = if column < SHOWN { 0 } else { column - SHOWN / 2 };
            let shown: String = self
                .source_line
                .chars()
                .skip(skip)
                .take(SHOWN)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            writeln!(f, "{:width$} |", "")?;
            writeln!(f, "{} | {}", at.line, shown.trim_end())?;
            writeln!(f, "{:width$} | {:caret$}^", "", "", caret = column - skip)?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "{:width$} = help: {hint}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_with_a_caret() {
        let mut diagnostic = Diagnostic::new(Severity::Error, codes::CONDITION, "unexpected token")
            .hint("did you mean `==`?")
            .at("- send: [a]\n  when: x = 1\n", Position { line: 2, column: 11 });
        diagnostic.object = "ConfigMap a/b".into();
        diagnostic.key = Some("trigger.x".into());
        let wanted = "error[HD010]: unexpected token\n --> ConfigMap a/b, trigger.x, line 2, column 11\n  |\n2 |   when: x = 1\n  |           ^\n  = help: did you mean `==`?\n";
        assert_eq!(diagnostic.to_string(), wanted);
    }

    #[test]
    fn any_place_renders() {
        for column in [0, 1, 200, u32::MAX] {
            let at = Position { line: 1, column };
            assert!(
                !Diagnostic::new(Severity::Note, codes::YAML, "m")
                    .at(&"x".repeat(300), at)
                    .to_string()
                    .is_empty()
            );
        }
    }
}
