//! What differs between two states of an entity, line by line. Pure.

use serde_json::Value;

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// In both.
    Same(String),
    /// Only in the earlier one.
    Gone(String),
    /// Only in the later one.
    New(String),
}

/// Compares two states; objects field by field, everything else as a whole.
pub(super) fn compare(earlier: &Value, later: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    values("", earlier, later, 0, &mut lines);
    lines
}

fn values(name: &str, earlier: &Value, later: &Value, depth: usize, lines: &mut Vec<Line>) {
    let indent = "  ".repeat(depth);
    match (earlier, later) {
        (Value::Object(before), Value::Object(after)) => {
            lines.push(Line::Same(format!("{indent}{name}{{")));
            for (field, old) in before {
                let name = format!("\"{field}\": ");
                match after.get(field) {
                    Some(new) => values(&name, old, new, depth + 1, lines),
                    None => lines.push(Line::Gone(format!("{indent}  {name}{old}"))),
                }
            }
            for (field, new) in after.iter().filter(|(field, _)| !before.contains_key(*field)) {
                lines.push(Line::New(format!("{indent}  \"{field}\": {new}")));
            }
            lines.push(Line::Same(format!("{indent}}}")));
        }
        (old, new) if old == new => lines.push(Line::Same(format!("{indent}{name}{old}"))),
        (old, new) => {
            lines.push(Line::Gone(format!("{indent}{name}{old}")));
            lines.push(Line::New(format!("{indent}{name}{new}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_changed_came_or_went_are_told_apart() {
        let earlier = json!({ "balance": 310, "limits": { "daily": 5, "old": 1 }, "owner": "Ada" });
        let later = json!({ "balance": 285, "limits": { "daily": 5, "new": 2 }, "owner": "Ada" });
        let lines = compare(&earlier, &later);
        let changed: Vec<_> = lines.iter().filter(|line| !matches!(line, Line::Same(_))).collect();
        assert_eq!(
            changed,
            [
                &Line::Gone("  \"balance\": 310".into()),
                &Line::New("  \"balance\": 285".into()),
                &Line::Gone("    \"old\": 1".into()),
                &Line::New("    \"new\": 2".into()),
            ]
        );
        assert!(lines.contains(&Line::Same("  \"owner\": \"Ada\"".into())));
    }

    #[test]
    fn two_equal_states_do_not_differ() {
        let state = json!({ "a": [1, 2], "b": null });
        assert!(compare(&state, &state).iter().all(|line| matches!(line, Line::Same(_))));
    }
}
