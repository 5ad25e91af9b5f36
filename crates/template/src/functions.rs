//! The names that templates can call.

use std::{collections::HashMap, sync::LazyLock};

use crate::{builtin::Builtin, function::Function, hint};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callee {
    Builtin(Builtin),
    Function(&'static Function),
}

static NAMES: LazyLock<HashMap<&'static str, Callee>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for (name, builtin) in Builtin::ALL {
        names.insert(*name, Callee::Builtin(*builtin));
    }
    // Sprig comes second: its `slice` stands in for the one of the language.
    for function in crate::sprig_functions() {
        names.insert(function.name, Callee::Function(function));
    }
    names
});

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<Callee> {
    NAMES.get(name).copied()
}

/// Every name, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES.keys().copied().collect();
    names.sort_unstable();
    names
}

/// What to say about a name that stands for nothing.
pub(crate) fn unknown(name: &str) -> String {
    let mut message = format!("function {name:?} is not defined");
    if let Some(near) = hint::nearest(name, names()) {
        message.push_str(&format!("; did you mean `{near}`?"));
    }
    message
}
