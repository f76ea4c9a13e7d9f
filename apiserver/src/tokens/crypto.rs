//! The cryptography of tokens: `jsonwebtoken` over ring, which TLS has in use already. RSA and the curves P-256 and P-384,
//! as Kubernetes signs with them; what others have signed may be of RSA with longer digests, too.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaVerificationAlgorithm,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaKeyPair, RsaParameters, RsaPublicKeyComponents,
        UnparsedPublicKey,
    },
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring what `jsonwebtoken` computes with.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        PROVIDER.install_default().expect("nobody else in this process uses jsonwebtoken");
    });
}

enum KeyPair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

struct RingSigner {
    algorithm: Algorithm,
    key: KeyPair,
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let der = key.as_bytes();
    let curve = |curve| {
        let key = EcdsaKeyPair::from_pkcs8(curve, der, &SystemRandom::new());
        key.map(KeyPair::Ec).map_err(|_| ErrorKind::InvalidEcdsaKey)
    };
    let key = match algorithm {
        Algorithm::RS256 => {
            let key = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
            key.map(KeyPair::Rsa).map_err(|why| ErrorKind::InvalidRsaKey(why.to_string()))
        }
        Algorithm::ES256 => curve(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => curve(&ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => Err(ErrorKind::UnsupportedAlgorithm),
    };
    Ok(Box::new(RingSigner { algorithm: *algorithm, key: key? }))
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        let failed = |_| signature::Error::new();
        match &self.key {
            KeyPair::Rsa(key) => {
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signed).map_err(failed)?;
                Ok(signed)
            }
            KeyPair::Ec(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_owned()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

enum PublicKey {
    Whole(UnparsedPublicKey<Vec<u8>>),
    /// As a set of keys tells it.
    Components {
        parameters: &'static RsaParameters,
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let ec = |curve: &'static EcdsaVerificationAlgorithm| -> Result<PublicKey, Error> {
        let point = key.try_get_as_bytes()?.to_owned();
        Ok(PublicKey::Whole(UnparsedPublicKey::new(curve, point)))
    };
    let rsa = |parameters: &'static RsaParameters| match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => {
            PublicKey::Whole(UnparsedPublicKey::new(parameters, der.clone()))
        }
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            PublicKey::Components { parameters, n: whole(n), e: whole(e) }
        }
    };
    let key = match algorithm {
        Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED)?,
        Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED)?,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

/// A number without leading zeros, which ring does not take.
fn whole(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.key {
            PublicKey::Whole(key) => key.verify(message, signed),
            PublicKey::Components { parameters, n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signed)
            }
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
