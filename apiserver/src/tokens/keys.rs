//! The keys that tokens are signed and verified with, from PEM as Kubernetes reads it
//! (Kubernetes: `k8s.io/client-go/util/keyutil`, `pkg/serviceaccount/jwt.go`).

use std::ops::RangeInclusive;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::digest::{SHA256, digest};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer,
        pem::{PemObject, SectionKind},
    },
};
use serde_json::{Value, json};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384},
    prelude::FromDer,
    public_key::PublicKey as Parsed,
    x509::SubjectPublicKeyInfo,
};

/// What ring verifies with.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Why a key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none in the text.
    #[error("no RSA or ECDSA key is in it")]
    None,
    /// The key can't be read.
    #[error("a key in it cannot be read")]
    Malformed,
    /// Another kind of key, or curve.
    #[error("a key in it is neither of RSA nor of the curves P-256 and P-384")]
    Unsupported,
    /// A key whose signatures nobody would take.
    #[error("an RSA key in it is not of 2048 to 8192 bits")]
    Size,
}

/// What tokens are verified with.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    /// How tokens name it: a digest, so that each server finds the same.
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// As others are told of it.
    pub(super) jwk: Value,
}

/// What tokens are signed with.
#[derive(Clone, Debug)]
pub(super) struct SigningKey {
    pub(super) key: EncodingKey,
    pub(super) public: PublicKey,
}

impl SigningKey {
    /// The private key in a text.
    pub(super) fn of_pem(pem: &str) -> Result<Self, KeyError> {
        let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::None)?;
        let public = PublicKey::of_private(&private)?;
        let key = match (&private, public.algorithm) {
            (_, Algorithm::RS256) => EncodingKey::from_rsa_der(private.secret_der()),
            (PrivateKeyDer::Sec1(key), curve) => {
                EncodingKey::from_ec_der(&pkcs8(curve, key.secret_sec1_der()))
            }
            _ => EncodingKey::from_ec_der(private.secret_der()),
        };
        Ok(Self { key, public })
    }
}

impl PublicKey {
    /// All keys in a text; of private ones the public part.
    pub(super) fn all_of_pem(pem: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
            keys.extend(Self::of_section(section.map_err(|_| KeyError::Malformed)?)?);
        }
        if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
    }

    /// None of what is beside keys, such as the parameters of a curve.
    fn of_section((kind, der): (SectionKind, Vec<u8>)) -> Result<Option<Self>, KeyError> {
        match kind {
            SectionKind::PublicKey => Self::of_info(&der).map(Some),
            SectionKind::Certificate => {
                let der = CertificateDer::from(der);
                let (_, parsed) =
                    X509Certificate::from_der(&der).map_err(|_| KeyError::Malformed)?;
                Self::of_info(parsed.public_key().raw).map(Some)
            }
            kind => match PrivateKeyDer::from_pem(kind, der) {
                Some(private) => Self::of_private(&private).map(Some),
                None => Ok(None),
            },
        }
    }

    fn of_private(private: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        let key = any_supported_type(private).map_err(|_| KeyError::Unsupported)?;
        let info: SubjectPublicKeyInfoDer<'_> = key.public_key().ok_or(KeyError::Unsupported)?;
        Self::of_info(&info)
    }

    /// The key in a `SubjectPublicKeyInfo`.
    fn of_info(der: &[u8]) -> Result<Self, KeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bits = &*info.subject_public_key.data;
        let (algorithm, key, mut jwk) = match info.parsed().map_err(|_| KeyError::Malformed)? {
            Parsed::RSA(rsa) if !RSA_BITS.contains(&bits_of(rsa.modulus)) => {
                return Err(KeyError::Size);
            }
            Parsed::RSA(rsa) => {
                let part = |part: &[u8]| encode(part.strip_prefix(&[0]).unwrap_or(part));
                let jwk = json!({ "kty": "RSA", "n": part(rsa.modulus), "e": part(rsa.exponent) });
                (Algorithm::RS256, DecodingKey::from_rsa_der(bits), jwk)
            }
            Parsed::EC(_) => {
                let (algorithm, name) = curve(&info, bits)?;
                let (x, y) = bits[1..].split_at(bits.len() / 2);
                let jwk = json!({ "kty": "EC", "crv": name, "x": encode(x), "y": encode(y) });
                (algorithm, DecodingKey::from_ec_der(bits), jwk)
            }
            _ => return Err(KeyError::Unsupported),
        };
        let id = encode(digest(&SHA256, der).as_ref());
        jwk["use"] = "sig".into();
        jwk["kid"] = id.as_str().into();
        jwk["alg"] = json!(algorithm);
        Ok(Self { id, algorithm, key, jwk })
    }
}

fn bits_of(modulus: &[u8]) -> usize {
    let zeros: usize = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (modulus.len() - zeros) * 8 - first
}

/// The curve of a point that is not compressed: others have points of the same length.
fn curve(
    info: &SubjectPublicKeyInfo<'_>,
    point: &[u8],
) -> Result<(Algorithm, &'static str), KeyError> {
    let named = info.algorithm.parameters.as_ref().and_then(|named| named.as_oid().ok());
    let named = named.ok_or(KeyError::Unsupported)?;
    match (point.len(), point.first()) {
        (65, Some(4)) if named == OID_EC_P256 => Ok((Algorithm::ES256, "P-256")),
        (97, Some(4)) if named == OID_NIST_EC_P384 => Ok((Algorithm::ES384, "P-384")),
        _ => Err(KeyError::Unsupported),
    }
}

/// A key of a curve in the form that ring reads (RFC 5958) from the one that `openssl ecparam` writes (RFC 5915).
fn pkcs8(algorithm: Algorithm, sec1: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
    let curve = if algorithm == Algorithm::ES384 { P384 } else { P256 };
    let version: &[u8] = &[0x02, 0x01, 0x00];
    der(0x30, &[version, &der(0x30, &[KEY, curve].concat()), &der(0x04, sec1)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length.to_be_bytes()[6..] {
        [0, short @ 0..0x80] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        ref long => [&[tag, 0x82], long].concat(),
    };
    [&head, content].concat()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
