//! What encrypts, with a key (Kubernetes: `k8s.io/apiserver/pkg/storage/value/encrypt`).

use std::{fmt, marker::PhantomData};

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit,
        KeyIvInit, block_padding::Pkcs7, consts::U16,
    },
};
use aes_gcm::{
    AesGcm,
    aead::{Aead, Nonce, Payload, consts::U12},
};
use crypto_secretbox::{XSalsa20Poly1305, aead::generic_array::GenericArray};
use ring::rand::{SecureRandom, SystemRandom};

/// See the module. What is sealed begins with the nonce.
pub(super) trait Cipher: fmt::Debug + Send + Sync {
    /// `context` is what the value belongs to, where the form has a place for that. `None` if there is no randomness.
    fn seal(&self, value: &[u8], context: &[u8]) -> Option<Vec<u8>>;

    /// `None` if it was not sealed with this key, in this context.
    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Vec<u8>>;
}

pub(super) fn aes_gcm(key: &[u8]) -> Option<Box<dyn Cipher>> {
    match key.len() {
        16 => boxed(AesGcm::<Aes128, U12>::new_from_slice(key).ok().map(Gcm)),
        24 => boxed(AesGcm::<Aes192, U12>::new_from_slice(key).ok().map(Gcm)),
        _ => boxed(AesGcm::<Aes256, U12>::new_from_slice(key).ok().map(Gcm)),
    }
}

pub(super) fn aes_cbc(key: &[u8]) -> Option<Box<dyn Cipher>> {
    match key.len() {
        16 => Some(Box::new(Cbc::<Aes128>::new(key))),
        24 => Some(Box::new(Cbc::<Aes192>::new(key))),
        32 => Some(Box::new(Cbc::<Aes256>::new(key))),
        _ => None,
    }
}

pub(super) fn secret_box(key: &[u8]) -> Option<Box<dyn Cipher>> {
    use crypto_secretbox::KeyInit;

    boxed(XSalsa20Poly1305::new_from_slice(key).ok().map(SecretBox))
}

fn boxed(cipher: Option<impl Cipher + 'static>) -> Option<Box<dyn Cipher>> {
    cipher.map(|cipher| Box::new(cipher) as Box<dyn Cipher>)
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

struct Gcm<A>(A);

impl<A> fmt::Debug for Gcm<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AES-GCM")
    }
}

const GCM_NONCE: usize = 12;

impl<C> Cipher for Gcm<AesGcm<C, U12>>
where
    AesGcm<C, U12>: Aead + aes_gcm::aead::AeadCore<NonceSize = U12> + Send + Sync,
{
    fn seal(&self, value: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let nonce = random::<GCM_NONCE>()?;
        let payload = Payload { msg: value, aad: context };
        let sealed = self.0.encrypt(&Nonce::<AesGcm<C, U12>>::from(nonce), payload).ok()?;
        Some([&nonce, sealed.as_slice()].concat())
    }

    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<GCM_NONCE>()?;
        let payload = Payload { msg: sealed, aad: context };
        self.0.decrypt(&Nonce::<AesGcm<C, U12>>::from(*nonce), payload).ok()
    }
}

/// Without a check that it was not changed: for who has it already.
struct Cbc<C> {
    key: Vec<u8>,
    cipher: PhantomData<fn() -> C>,
}

impl<C> Cbc<C> {
    fn new(key: &[u8]) -> Self {
        Self { key: key.to_owned(), cipher: PhantomData }
    }
}

impl<C> fmt::Debug for Cbc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AES-CBC")
    }
}

const BLOCK: usize = 16;

impl<C> Cipher for Cbc<C>
where
    C: BlockCipherEncrypt<BlockSize = U16> + BlockCipherDecrypt<BlockSize = U16> + KeyInit,
{
    fn seal(&self, value: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        let iv = random::<BLOCK>()?;
        let encryptor = cbc::Encryptor::<C>::new_from_slices(&self.key, &iv).ok()?;
        Some([&iv, encryptor.encrypt_padded_vec::<Pkcs7>(value).as_slice()].concat())
    }

    fn open(&self, sealed: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        let (iv, sealed) = sealed.split_first_chunk::<BLOCK>()?;
        let decryptor = cbc::Decryptor::<C>::new_from_slices(&self.key, iv).ok()?;
        decryptor.decrypt_padded_vec::<Pkcs7>(sealed).ok()
    }
}

struct SecretBox(XSalsa20Poly1305);

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secretbox")
    }
}

const BOX_NONCE: usize = 24;

impl Cipher for SecretBox {
    fn seal(&self, value: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        use crypto_secretbox::aead::Aead;

        let nonce = random::<BOX_NONCE>()?;
        let sealed = self.0.encrypt(GenericArray::from_slice(&nonce), value).ok()?;
        Some([&nonce, sealed.as_slice()].concat())
    }

    fn open(&self, sealed: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        use crypto_secretbox::aead::Aead;

        let (nonce, sealed) = sealed.split_first_chunk::<BOX_NONCE>()?;
        self.0.decrypt(GenericArray::from_slice(nonce), sealed).ok()
    }
}
