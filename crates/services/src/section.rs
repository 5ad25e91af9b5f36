//! What the sections of templates share: fields, defaults, and how a later template overwrites an earlier one.

use std::sync::Arc;

use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Kind, Node, YamlError},
};
use serde_json::{Map, Value};

use crate::failure::SendError;

/// A text field of a section.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Whether it holds JSON text, so that a YAML list or map is taken as well and encoded.
    pub json: bool,
    /// The template that is used when the key is missing or empty.
    pub default: &'static str,
    /// Whether it stays in the notification when it is empty.
    pub always: bool,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// Says what is wrong with a rendered text, so that one without actions is found to be wrong at once.
    pub check: Option<Check>,
}

/// A check of a rendered text.
pub type Check = fn(&str) -> Result<(), SendError>;

impl Field {
    /// An ordinary text field.
    pub const fn text(name: &'static str) -> Field {
        Field { name, json: false, default: "", always: false, about: "", check: None }
    }

    /// A field with JSON text.
    pub const fn json(name: &'static str) -> Field {
        Field { name, json: true, default: "", always: false, about: "", check: None }
    }

    /// The same field with a default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Field {
        self.default = default;
        self
    }

    /// The same field, with a check of what it renders to.
    #[must_use]
    pub const fn checked(mut self, check: Check) -> Field {
        self.check = Some(check);
        self
    }

    /// The same field, with what it is for.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Field {
        self.about = about;
        self
    }

    /// The same field, kept also when it is empty.
    #[must_use]
    pub const fn always(mut self) -> Field {
        self.always = true;
        self
    }
}

/// How a later template of one notification treats what an earlier one left (services.md 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Field by field, only where the later one renders non-empty.
    NonEmpty,
    /// Every field, also with an empty value.
    Replace,
}

/// A section that consists of text fields only, the most common kind.
#[derive(Debug)]
pub struct TextSection {
    merge: Merge,
    fields: Vec<(Field, Option<TemplateText>)>,
}

/// Reads a section of text fields. Its `Section` renders to a map of the fields that are not empty.
pub fn texts(node: &Node, fields: &[Field], merge: Merge) -> Result<Arc<dyn Section>, YamlError> {
    Ok(Arc::new(TextSection::read(node, fields, merge)?))
}

impl TextSection {
    /// Reads a section of text fields; other keys are ignored.
    pub fn read(node: &Node, fields: &[Field], merge: Merge) -> Result<TextSection, YamlError> {
        let fields = fields
            .iter()
            .map(|field| Ok((*field, read_field(node, *field)?)))
            .collect::<Result<_, YamlError>>()?;
        Ok(TextSection { merge, fields })
    }

    /// The fields that can't work, whatever the variables are.
    pub fn problems_of_fields(&self) -> Vec<YamlError> {
        self.fields.iter().filter_map(|(field, template)| static_problem(*field, template.as_ref())).collect()
    }

    /// Renders the fields over what an earlier template left.
    pub fn render_fields(
        &self,
        context: &RenderContext<'_>,
        earlier: Option<&Value>,
    ) -> Result<Map<String, Value>, RenderError> {
        let mut out = Map::new();
        for (field, template) in &self.fields {
            let mut text =
                template.as_ref().map(|template| context.text(template)).transpose()?.unwrap_or_default();
            if text.is_empty()
                && self.merge == Merge::NonEmpty
                && let Some(Value::String(before)) = earlier.and_then(|earlier| earlier.get(field.name))
            {
                text.clone_from(before);
            }
            if field.always || !text.is_empty() {
                out.insert(field.name.into(), Value::String(text));
            }
        }
        Ok(out)
    }
}

impl Section for TextSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        self.render_fields(context, earlier).map(Value::Object)
    }

    fn problems(&self) -> Vec<YamlError> {
        self.problems_of_fields()
    }
}

/// What is wrong with a field that renders to the same text always.
pub fn static_problem(field: Field, template: Option<&TemplateText>) -> Option<YamlError> {
    let (check, template) = (field.check?, template?);
    if template.source.contains("{{") {
        return None;
    }
    let error = check(&template.source).err()?;
    Some(YamlError::new(error.message, template.at))
}

/// Reads one template field of a section: `None` if it is missing or empty and has no default.
pub fn read_field(section: &Node, field: Field) -> Result<Option<TemplateText>, YamlError> {
    let found = child(section, field.name).filter(|node| !is_empty(node));
    let node = match found {
        None if field.default.is_empty() => return Ok(None),
        None => Node { kind: Kind::Text(field.default.into()), at: section.at },
        Some(node) if !field.json && matches!(node.kind, Kind::List(_) | Kind::Map(_)) => {
            return Err(YamlError::new(
                format!("{} must be text, not {}", field.name, node.describe()),
                node.at,
            ));
        }
        Some(node) => node.clone(),
    };
    yaml::decode(&node).map(Some)
}

/// The value of a key of a map, matching without regard to case as Go does: of several, the last one.
pub fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.kind {
        Kind::Map(entries) => entries
            .iter()
            .rev()
            .find(|(name, _, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, _, value)| value),
        _ => None,
    }
}

/// The entries of a map whose values are templates, such as labels; keys keep their case.
pub fn template_map(node: Option<&Node>) -> Result<Vec<(String, TemplateText)>, YamlError> {
    match node.map(|node| (&node.kind, node.at)) {
        None | Some((Kind::Null, _)) => Ok(Vec::new()),
        Some((Kind::Map(entries), _)) => entries
            .iter()
            .map(|(key, _, value)| {
                let null = Node { kind: Kind::Text(String::new()), at: value.at };
                let value = if matches!(value.kind, Kind::Null) { &null } else { value };
                Ok((key.clone(), yaml::decode(value)?))
            })
            .collect(),
        Some((_, at)) => Err(YamlError { message: "expected a map of texts".into(), at }),
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Null => true,
        Kind::Text(text) => text.is_empty(),
        _ => false,
    }
}
