//! In what form a value is stored: who is first writes, and the first that it is of reads
//! (Kubernetes: `k8s.io/apiserver/pkg/storage/value/transformer.go`).

use std::sync::Arc;

use bytes::Bytes;

use super::{
    ciphers::Cipher,
    form::{Form, Opened, ProviderError},
    kms::Kms,
};

/// What all encrypted values begin with.
pub(super) const ENCRYPTED: &[u8] = b"k8s:enc:";

/// A way to store values.
#[derive(Debug)]
pub(super) enum Provider {
    /// As they are.
    Identity,
    Keyed {
        form: Form,
        keys: Vec<Key>,
    },
    Kms(Arc<Kms>),
}

/// A key, by the name that values say.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) cipher: Box<dyn Cipher>,
}

/// What is stored of a value under a key of the store.
pub(super) fn seal(
    providers: &[Provider],
    value: Bytes,
    place: &str,
) -> Result<Bytes, ProviderError> {
    match providers.first() {
        Some(Provider::Keyed { form, keys }) => {
            let Key { name, cipher } = keys.first().ok_or(ProviderError::Seal)?;
            let sealed = cipher.seal(&value, place.as_bytes()).ok_or(ProviderError::Seal)?;
            let prefix = [form.prefix().as_str(), name, ":"].concat();
            Ok([prefix.as_bytes(), &sealed].concat().into())
        }
        Some(Provider::Kms(kms)) => kms.seal(&value, place.as_bytes()),
        Some(Provider::Identity) | None => Ok(value),
    }
}

/// The value of what is stored under a key of the store, for which somebody may have to be asked.
pub(super) async fn open(
    providers: &[Provider],
    stored: &Bytes,
    place: &str,
) -> Result<Opened, ProviderError> {
    for (i, provider) in providers.iter().enumerate() {
        if let Provider::Kms(kms) = provider
            && let Some(object) = kms.of(stored)
        {
            let Opened { value, is_stale } = kms.open(object, place.as_bytes()).await?;
            return Ok(Opened { value, is_stale: is_stale || i > 0 });
        }
    }
    open_with_own(providers, stored, place)
}

/// The same, of what this server has the keys for.
fn open_with_own(
    providers: &[Provider],
    stored: &Bytes,
    place: &str,
) -> Result<Opened, ProviderError> {
    let mut failure = ProviderError::Unknown;
    for (i, provider) in providers.iter().enumerate() {
        match provider {
            Provider::Identity if !stored.starts_with(ENCRYPTED) => {
                return Ok(Opened { value: stored.clone(), is_stale: i > 0 });
            }
            Provider::Identity | Provider::Kms(_) => {}
            // Another provider may have the key, or another one of the name.
            Provider::Keyed { form, keys } => match open_with(*form, keys, stored, place) {
                Ok(Opened { value, is_stale }) => {
                    return Ok(Opened { value, is_stale: is_stale || i > 0 });
                }
                Err(ProviderError::Unknown) => {}
                Err(error) => failure = error,
            },
        }
    }
    Err(failure)
}

fn open_with(
    form: Form,
    keys: &[Key],
    stored: &Bytes,
    place: &str,
) -> Result<Opened, ProviderError> {
    let named = stored.strip_prefix(form.prefix().as_bytes()).ok_or(ProviderError::Unknown)?;
    let mut failure = ProviderError::NoKey(form);
    for (i, Key { name, cipher }) in keys.iter().enumerate() {
        let sealed = named.strip_prefix(name.as_bytes()).and_then(|it| it.strip_prefix(b":"));
        let Some(sealed) = sealed else { continue };
        match cipher.open(sealed, place.as_bytes()) {
            Some(value) => return Ok(Opened { value: value.into(), is_stale: i > 0 }),
            None => failure = ProviderError::Refused,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    const PLACE: &str = "/registry/core/secrets/default/a";
    const FORMS: [Form; 3] = [Form::AesGcm, Form::AesCbc, Form::SecretBox];

    fn keyed(form: Form, keys: &[(&str, u8)]) -> Provider {
        let keys = keys.iter().map(|(name, byte)| Key {
            name: (*name).to_owned(),
            cipher: form.cipher(&[*byte; 32]).unwrap(),
        });
        Provider::Keyed { form, keys: keys.collect() }
    }

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn what_was_written_is_read_and_says_its_form_and_key_alone() {
        for form in FORMS {
            for text in ["", "{}", "a value that is longer than a block of sixteen bytes"] {
                let providers = [keyed(form, &[("k", 1)])];
                let stored = seal(&providers, value(text), PLACE).unwrap();
                let prefix = format!("k8s:enc:{}:v1:k:", form.name());
                assert!(stored.starts_with(prefix.as_bytes()), "{form:?}");
                assert!(
                    text.is_empty() || !stored.windows(text.len()).any(|it| it == text.as_bytes())
                );
                assert_ne!(
                    stored,
                    seal(&providers, value(text), PLACE).unwrap(),
                    "a nonce is used twice"
                );
                let opened = open_with_own(&providers, &stored, PLACE).unwrap();
                assert_eq!(opened, Opened { value: value(text), is_stale: false });
            }
        }
    }

    #[test]
    fn all_keys_read_and_what_is_not_of_the_first_is_stale() {
        let old = [keyed(Form::SecretBox, &[("old", 1)])];
        let stored = seal(&old, value("x"), PLACE).unwrap();
        let rotated = [keyed(Form::SecretBox, &[("new", 2), ("old", 1)]), Provider::Identity];
        let opened = open_with_own(&rotated, &stored, PLACE).unwrap();
        assert_eq!(opened, Opened { value: value("x"), is_stale: true });
        assert!(
            open_with_own(&rotated, &value("{}"), PLACE).unwrap().is_stale,
            "it was never encrypted"
        );
        let again = seal(&rotated, opened.value, PLACE).unwrap();
        assert!(again.starts_with(b"k8s:enc:secretbox:v1:new:"));
        assert_eq!(open_with_own(&old, &again, PLACE), Err(ProviderError::NoKey(Form::SecretBox)));
        // Back to plain: who is first writes, and does not take what is encrypted for plain.
        let plain = [Provider::Identity, keyed(Form::SecretBox, &[("old", 1)])];
        assert_eq!(seal(&plain, value("x"), PLACE).unwrap(), "x");
        assert_eq!(
            open_with_own(&plain, &stored, PLACE),
            Ok(Opened { value: value("x"), is_stale: true })
        );
        for (providers, told) in [
            (&plain[..1], "no matching prefix found"),
            (&[keyed(Form::AesGcm, &[("old", 1)])], "no matching prefix found"),
            (
                &[keyed(Form::SecretBox, &[("ol", 1)])],
                "no matching key was found for the provided Secretbox transformer",
            ),
        ] {
            assert_eq!(open_with_own(providers, &stored, PLACE).unwrap_err().to_string(), told);
        }
        // Of several providers with a key of the same name, another may be the one.
        let both = [keyed(Form::SecretBox, &[("old", 7)]), keyed(Form::SecretBox, &[("old", 1)])];
        assert!(open_with_own(&both, &stored, PLACE).unwrap().is_stale);
        assert_eq!(open_with_own(&both[..1], &stored, PLACE), Err(ProviderError::Refused));
    }

    #[test]
    fn what_was_changed_is_not_read_and_with_gcm_nor_what_was_moved() {
        for form in [Form::AesGcm, Form::SecretBox] {
            let providers = [keyed(form, &[("k", 1)])];
            let mut stored = seal(&providers, value("x"), PLACE).unwrap().to_vec();
            *stored.last_mut().unwrap() ^= 1;
            assert_eq!(
                open_with_own(&providers, &stored.into(), PLACE),
                Err(ProviderError::Refused)
            );
        }
        let providers = [keyed(Form::AesGcm, &[("k", 1)])];
        let stored = seal(&providers, value("x"), PLACE).unwrap();
        assert_eq!(open_with_own(&providers, &stored, "elsewhere"), Err(ProviderError::Refused));
        for short in ["k8s:enc:aesgcm:v1:k:", "k8s:enc:aesgcm:v1:k:abc"] {
            assert_eq!(
                open_with_own(&providers, &value(short), PLACE),
                Err(ProviderError::Refused)
            );
        }
    }

    /// Written by Kubernetes' own code with keys of 32 bytes of 1: `k8s.io/apiserver` v0.36.3.
    #[test]
    fn what_kubernetes_has_written_is_read() {
        for (form, stored) in [
            (
                Form::AesGcm,
                "azhzOmVuYzphZXNnY206djE6azr5CHQAlFgMdh/hB7IYUrUhXlcKG0/23Jgyf3pbPM001bGcJMN7OM0GInNwSI4=",
            ),
            (
                Form::AesCbc,
                "azhzOmVuYzphZXNjYmM6djE6azrdOuc764Qsz1C7LL8A8tGA46trF/0O7UoHSmgRWB30tD/NXL56jdlYmSjIgLWwJ3w=",
            ),
            (
                Form::SecretBox,
                "azhzOmVuYzpzZWNyZXRib3g6djE6azoeeWS70kgql64rM1CCA3qvGODcUcGRrxjYd/YzlOEAxQsCf8uWm0D51TpyMpAmnFTTRtTZeksqMn8=",
            ),
        ] {
            let stored = Bytes::from(STANDARD.decode(stored).unwrap());
            let opened = open_with_own(&[keyed(form, &[("k", 1)])], &stored, PLACE).unwrap();
            assert_eq!(opened, Opened { value: value("{\"kind\":\"Secret\"}"), is_stale: false });
        }
    }
}
