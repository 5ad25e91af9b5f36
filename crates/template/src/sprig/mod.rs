//! The functions of sprig 3.3.0, less `env` and `expandenv`, which would show the environment of the process.

mod case;
mod certificates;
mod crypto;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod encoding;
mod help;
mod lists;
mod math;
mod paths;
mod random;
mod reflect;
mod regexes;
mod semver;
mod strings;
mod urls;

use crate::function::Function;

/// All functions, by theme.
pub(crate) const TABLES: &[&[Function]] = &[
    strings::FUNCTIONS,
    math::FUNCTIONS,
    lists::FUNCTIONS,
    dicts::FUNCTIONS,
    defaults::FUNCTIONS,
    encoding::FUNCTIONS,
    paths::FUNCTIONS,
    random::FUNCTIONS,
    reflect::FUNCTIONS,
    dates::FUNCTIONS,
    regexes::FUNCTIONS,
    semver::FUNCTIONS,
    urls::FUNCTIONS,
    crypto::FUNCTIONS,
    certificates::FUNCTIONS,
];
