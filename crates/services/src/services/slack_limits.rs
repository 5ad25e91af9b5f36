//! Slack's limits: what is too long is cut with a mark, rather than refused as a whole.

use serde_json::{Value, json};

use crate::limit::cut_reported;

/// Characters of a message's text.
pub(super) const TEXT: usize = 40_000;

const BLOCKS: usize = 50;
const ATTACHMENTS: usize = 100;
const SECTION_TEXT: usize = 3000;
const FIELD_TEXT: usize = 2000;
const HEADER_TEXT: usize = 150;
const BUTTON_TEXT: usize = 75;
const ALT_TEXT: usize = 2000;

/// Brings attachments and blocks within Slack's limits.
pub(super) fn keep(attachments: &mut Vec<Value>, blocks: &mut Vec<Value>, warnings: &mut Vec<String>) {
    if attachments.len() > ATTACHMENTS {
        attachments.truncate(ATTACHMENTS);
        warnings.push(format!("attachments cut at {ATTACHMENTS}"));
    }
    keep_blocks(blocks, warnings);
    for attachment in attachments {
        if let Some(Value::Array(blocks)) = attachment.get_mut("blocks") {
            keep_blocks(blocks, warnings);
        }
    }
}

fn keep_blocks(blocks: &mut Vec<Value>, warnings: &mut Vec<String>) {
    if blocks.len() > BLOCKS {
        let left_out = blocks.len() - (BLOCKS - 1);
        blocks.truncate(BLOCKS - 1);
        blocks.push(json!({"type": "context", "elements":
            [{"type": "mrkdwn", "text": format!("… {left_out} more blocks were left out")}]}));
        warnings.push(format!("blocks cut at {BLOCKS}"));
    }
    for block in blocks {
        keep_block(block, warnings);
    }
}

fn keep_block(block: &mut Value, warnings: &mut Vec<String>) {
    match block["type"].as_str() {
        Some("section") => {
            keep_text(block.get_mut("text"), SECTION_TEXT, "section", warnings);
            if let Some(fields) = list(block, "fields", 10, "fields of a section", warnings) {
                for field in fields {
                    keep_text(Some(field), FIELD_TEXT, "field of a section", warnings);
                }
            }
        }
        Some("header") => keep_text(block.get_mut("text"), HEADER_TEXT, "header", warnings),
        Some("image") => {
            if let Some(Value::String(text)) = block.get_mut("alt_text") {
                cut_reported(text, ALT_TEXT, "alt_text", warnings);
            }
            keep_text(block.get_mut("title"), ALT_TEXT, "title of an image", warnings);
        }
        Some("context") => {
            if let Some(elements) = list(block, "elements", 10, "elements of a context", warnings) {
                for element in elements {
                    keep_text(Some(element), SECTION_TEXT, "context", warnings);
                }
            }
        }
        Some("actions") => {
            if let Some(elements) = list(block, "elements", 25, "elements of actions", warnings) {
                for element in elements {
                    keep_text(element.get_mut("text"), BUTTON_TEXT, "button", warnings);
                }
            }
        }
        _ => {}
    }
}

fn list<'v>(
    block: &'v mut Value,
    key: &str,
    most: usize,
    what: &str,
    warnings: &mut Vec<String>,
) -> Option<&'v mut Vec<Value>> {
    let items = block.get_mut(key)?.as_array_mut()?;
    if items.len() > most {
        items.truncate(most);
        warnings.push(format!("{what} cut at {most}"));
    }
    Some(items)
}

fn keep_text(object: Option<&mut Value>, most: usize, what: &str, warnings: &mut Vec<String>) {
    if let Some(Value::String(text)) = object.and_then(|object| object.get_mut("text")) {
        cut_reported(text, most, &format!("text of a {what}"), warnings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_cut_and_reported() {
        let long = "x".repeat(3001);
        let section = json!({"type": "section", "text": {"type": "mrkdwn", "text": long},
            "fields": vec![json!({"type": "mrkdwn", "text": "f"}); 12]});
        let mut blocks =
            vec![json!({"type": "header", "text": {"type": "plain_text", "text": "h".repeat(151)}}), section];
        blocks.extend(vec![json!({"type": "divider"}); 60]);
        let mut warnings = Vec::new();
        keep(&mut Vec::new(), &mut blocks, &mut warnings);
        assert_eq!(blocks.len(), 50);
        assert_eq!(blocks[0]["text"]["text"].as_str().unwrap().chars().count(), 150);
        assert_eq!(blocks[1]["text"]["text"].as_str().unwrap().chars().count(), 3000);
        assert_eq!(blocks[1]["fields"].as_array().unwrap().len(), 10);
        assert!(blocks[49].to_string().contains("13 more blocks"));
        assert_eq!(
            warnings,
            [
                "blocks cut at 50",
                "text of a header cut at 150 characters",
                "text of a section cut at 3000 characters",
                "fields of a section cut at 10"
            ]
        );
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut blocks = vec![json!({"type": "section", "text": "odd"}), json!({"unknown": 1}), json!(7)];
        let before = blocks.clone();
        let mut warnings = Vec::new();
        keep(&mut vec![json!({"color": "red"})], &mut blocks, &mut warnings);
        assert_eq!((blocks, warnings), (before, vec![]));
    }
}
