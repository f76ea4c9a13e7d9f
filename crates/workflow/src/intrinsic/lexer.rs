//! The pieces that an intrinsic function is written with.

pub(super) struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    pub(super) fn next_is(&mut self, c: char) -> bool {
        self.skip_space();
        self.rest.starts_with(c)
    }

    pub(super) fn take(&mut self, c: char) -> Result<(), String> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(c).ok_or_else(|| self.expected(&format!("{c:?}")))?;
        Ok(())
    }

    pub(super) fn expected(&self, what: &str) -> String {
        format!("expected {what} at character {}", self.text.len() - self.rest.len() + 1)
    }

    /// A function's name.
    pub(super) fn name(&mut self) -> &'a str {
        self.until(|c| !c.is_alphanumeric() && c != '.')
    }

    /// A number or a word.
    pub(super) fn literal(&mut self) -> &'a str {
        self.until(|c| matches!(c, ',' | ')' | ' '))
    }

    /// A path: up to the comma or bracket that is not its own.
    pub(super) fn path(&mut self) -> &'a str {
        self.skip_space();
        let (mut depth, mut quote) = (0_i32, None);
        let end = self.rest.find(|c| {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ',' | ')' | ' ') if depth == 0 => return true,
                (None, ']' | ')') => depth -= 1,
                _ => {}
            }
            false
        });
        self.split(end)
    }

    /// What is between quotes, as it was written.
    pub(super) fn text(&mut self) -> Result<String, String> {
        self.take('\'')?;
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == '\'' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or_else(|| self.expected("a text that ends"))?;
        let text = self.split(Some(end)).to_owned();
        self.take('\'')?;
        Ok(text)
    }

    fn until(&mut self, ends: impl FnMut(char) -> bool) -> &'a str {
        self.skip_space();
        let end = self.rest.find(ends);
        self.split(end)
    }

    fn split(&mut self, end: Option<usize>) -> &'a str {
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// The text without its escapes.
pub(super) fn plain(written: &str) -> String {
    let mut plain = String::new();
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}
