//! Words for `sh`.

use crate::ssh::Error;

/// `word` as `sh` takes it for one word, whatever is in it.
///
/// # Errors
/// If it has a zero byte, which no word can have.
pub fn quote(word: &str) -> Result<String, Error> {
    match shlex::try_quote(word) {
        Ok(quoted) => Ok(quoted.into_owned()),
        Err(_) => Err(Error::failed(format!("{word:?}"), "a zero byte is not allowed")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn through_sh(words: &[String]) -> String {
        let quoted: Vec<_> = words.iter().map(|word| quote(word).unwrap()).collect();
        let script = format!("printf '%s\\0' {}", quoted.join(" "));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sh_gives_back_the_same_words(
            words in proptest::collection::vec("([ -~\n\t\r\\\\'\"$`!*~é]|\\PC){0,20}", 1..8),
        ) {
            let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(through_sh(&words), expected);
        }
    }

    #[test]
    fn empty_words_options_and_substitutions_are_words() {
        let words = ["", "-n", "$(id)", "a'b\"c", "two\nlines", "~", "*", "!x"].map(str::to_owned);
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(through_sh(&words), expected);
    }

    #[test]
    fn a_zero_byte_is_refused() {
        assert!(quote("a\0b").is_err());
    }
}
