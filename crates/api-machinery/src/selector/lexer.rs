//! The tokens of a label selector.

use std::{iter::Peekable, str::CharIndices};

/// A token with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    End,
    /// A key, a value, or one of the words `in` and `notin`.
    Word(String),
    Symbol(&'static str),
    /// Special characters that are no symbol.
    Error(String),
}

impl Token {
    /// The text, for messages.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::End => "",
            Self::Word(text) | Self::Error(text) => text,
            Self::Symbol(text) => text,
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// All tokens of the text, the last being `End`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut chars = text.char_indices().peekable();
    let mut tokens = Vec::new();
    while let Some(&(start, c)) = chars.peek() {
        if is_space(c) {
            chars.next();
        } else if is_special(c) {
            tokens.push(symbol(text, start, &mut chars));
        } else {
            tokens.push(word(&mut chars));
        }
    }
    tokens.push(Token::End);
    tokens
}

fn word(chars: &mut Peekable<CharIndices<'_>>) -> Token {
    let mut word = String::new();
    while let Some((_, c)) = chars.next_if(|(_, c)| !is_space(*c) && !is_special(*c)) {
        word.push(c);
    }
    Token::Word(word)
}

fn symbol(text: &str, start: usize, chars: &mut Peekable<CharIndices<'_>>) -> Token {
    let Some(symbol) = SYMBOLS.iter().find(|s| text[start..].starts_with(**s)) else {
        chars.next();
        return Token::Error(format!("error expected: keyword found '{}'", &text[start..=start]));
    };
    for _ in 0..symbol.len() {
        chars.next();
    }
    Token::Symbol(symbol)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
