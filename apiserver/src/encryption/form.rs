//! The forms of encryption with keys of this server, and what comes of reading a value in any.

use bytes::Bytes;

use super::ciphers::{self, Cipher};

/// A form of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    AesGcm,
    AesCbc,
    SecretBox,
}

impl Form {
    /// As the configuration and the values spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aesgcm",
            Self::AesCbc => "aescbc",
            Self::SecretBox => "secretbox",
        }
    }

    /// How many bytes keys have.
    pub(super) fn key_lengths(self) -> &'static [usize] {
        match self {
            Self::AesGcm | Self::AesCbc => &[16, 24, 32],
            Self::SecretBox => &[32],
        }
    }

    /// What encrypts with a key, unless it is not as long as one.
    pub(super) fn cipher(self, key: &[u8]) -> Option<Box<dyn Cipher>> {
        match self {
            Self::AesGcm => ciphers::aes_gcm(key),
            Self::AesCbc => ciphers::aes_cbc(key),
            Self::SecretBox => ciphers::secret_box(key),
        }
    }

    /// As Kubernetes calls it where it has no key.
    fn transformer(self) -> &'static str {
        match self {
            Self::AesGcm | Self::AesCbc => "AES",
            Self::SecretBox => "Secretbox",
        }
    }

    pub(super) fn prefix(self) -> String {
        format!("k8s:enc:{}:v1:", self.name())
    }
}

/// A value in plain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) value: Bytes,
    /// Whether it would be written in another form now.
    pub(super) is_stale: bool,
}

/// Why a value is not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProviderError {
    #[error("no matching prefix found")]
    Unknown,
    #[error("no matching key was found for the provided {} transformer", .0.transformer())]
    NoKey(Form),
    /// The key is another one, or the value was changed or moved.
    #[error("cipher: message authentication failed")]
    Refused,
    #[error("a value can't be encrypted")]
    Seal,
    /// Who keeps the keys can't be asked, or does not say.
    #[error("{0}")]
    Kms(String),
}
