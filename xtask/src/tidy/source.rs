//! A Rust source with its comments and literals blanked out, so that rules about code do not stumble over words in texts.

/// The source with every comment, string and character literal replaced by spaces; line breaks stay, so line numbers hold.
///
/// This is a scanner, not a parser: it knows line comments, nested block comments, strings with escapes, raw strings and characters.
pub(crate) fn code_of(source: &str) -> String {
    let mut scanner = Scanner { rest: source, code: String::with_capacity(source.len()) };
    while let Some(next) = scanner.rest.chars().next() {
        let blank = literal_or_comment(scanner.rest, scanner.code.chars().next_back());
        if blank > 0 { scanner.blank(blank) } else { scanner.keep(next) }
    }
    scanner.code
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    fn keep(&mut self, next: char) {
        self.code.push(next);
        self.rest = &self.rest[next.len_utf8()..];
    }

    fn blank(&mut self, bytes: usize) {
        let (blanked, rest) = self.rest.split_at(bytes);
        self.code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of the comment or literal that begins here; zero when none does.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let raw = rest.trim_start_matches('b');
    if !in_word && rest.len() - raw.len() <= 1 && raw.starts_with('r') {
        return raw_string(rest, &raw[1..]);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, but not a lifetime or a label.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |end| end + 4),
        Some(_) => chars.next().filter(|&(_, c)| c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

fn raw_string(rest: &str, after_r: &str) -> usize {
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    if !after_r[hashes..].starts_with('"') {
        return 0;
    }
    let open = rest.len() - after_r.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source = "a // b\n/* c /* d */ e */ f \"g \\\" h\" i r#\"j \" k\"# 'l' '\\n' m::<'n>()";
        let code = code_of(source);
        assert_eq!(code.lines().count(), 2);
        let words: Vec<_> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "f", "i", "m::<'n>()"]);
    }

    #[test]
    fn what_only_resembles_a_literal_stays() {
        for source in ["for r in x {}", "'outer: loop {}", "fn f<'a>(a: &'a str)", "br(1)", "bar\n"]
        {
            assert_eq!(code_of(source), source);
        }
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        assert_eq!(code_of("a \"b").trim(), "a");
        assert_eq!(code_of("a /* b").trim(), "a");
    }
}
