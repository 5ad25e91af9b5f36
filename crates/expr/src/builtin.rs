//! The names of the built-in functions.

macro_rules! builtins {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A built-in function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin { $($variant),* }

        impl Builtin {
            /// Every name, for "did you mean".
            pub(crate) const NAMES: &[&str] = &[$($name),*];

            pub(crate) fn lookup(name: &[u8]) -> Option<Builtin> {
                $(if name == $name.as_bytes() { return Some(Builtin::$variant); })*
                None
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(Builtin::$variant => $name),* }
            }
        }
    };
}

builtins! {
    All "all", NoneOf "none", Any "any", One "one", Filter "filter", Map "map", Find "find", FindIndex "findIndex",
    FindLast "findLast", FindLastIndex "findLastIndex", Count "count", Sum "sum", GroupBy "groupBy", SortBy "sortBy",
    Reduce "reduce", Len "len", Type "type", Abs "abs", Ceil "ceil", Floor "floor", Round "round", Int "int",
    Float "float", ToText "string", Trim "trim", TrimPrefix "trimPrefix", TrimSuffix "trimSuffix", Upper "upper",
    Lower "lower", Split "split", SplitAfter "splitAfter", Replace "replace", Repeat "repeat", Join "join",
    IndexOf "indexOf", LastIndexOf "lastIndexOf", HasPrefix "hasPrefix", HasSuffix "hasSuffix", Max "max", Min "min",
    Mean "mean", Median "median", ToJson "toJSON", FromJson "fromJSON", ToBase64 "toBase64",
    FromBase64 "fromBase64", Now "now", Duration "duration", Date "date", Timezone "timezone", First "first",
    Last "last", Get "get", Take "take", Keys "keys", Values "values", ToPairs "toPairs", FromPairs "fromPairs",
    Reverse "reverse", Uniq "uniq", Concat "concat", Flatten "flatten", Sort "sort", BitAnd "bitand", BitOr "bitor",
    BitXor "bitxor", BitNand "bitnand", BitShl "bitshl", BitShr "bitshr", BitUshr "bitushr", BitNot "bitnot",
}

/// The arguments of a function with a predicate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    Value,
    OptionalValue,
    Predicate,
    OptionalPredicate,
}

impl Builtin {
    /// The arguments of a function that takes a predicate; `None` for all others.
    pub(crate) fn predicate_params(self) -> Option<&'static [Param]> {
        use Param::*;
        Some(match self {
            Builtin::All
            | Builtin::NoneOf
            | Builtin::Any
            | Builtin::One
            | Builtin::Filter
            | Builtin::Map
            | Builtin::Find
            | Builtin::FindIndex
            | Builtin::FindLast
            | Builtin::FindLastIndex
            | Builtin::GroupBy => &[Value, Predicate],
            Builtin::Count | Builtin::Sum => &[Value, OptionalPredicate],
            Builtin::SortBy | Builtin::Reduce => &[Value, Predicate, OptionalValue],
            _ => return None,
        })
    }
}
