//! One connection.

use std::{fmt, sync::Arc, time::Duration};

use russh::{
    ChannelMsg, Disconnect, MethodKind, Preferred,
    client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse, Msg},
    keys::{
        Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate,
        decode_secret_key,
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, time::timeout};

use super::{Error, HostKeys};

/// Until a connection and a login are there.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How often the other side is asked for a sign of life, when nothing else comes from it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How many of these may go unanswered.
const KEEPALIVE_MAX: usize = 3;
/// As long may nothing come from the other side, nor go there, until the connection counts as gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// Of taking leave.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Of each of a command's outputs: those of an array of thousands are megabytes.
const OUTPUT_LIMIT: usize = 8 << 20;
/// What may be on its way to us; it bounds what is held of a file that is being fetched.
const WINDOW: u32 = 512 << 10;
/// How many commands may run at a time: OpenSSH allows ten channels, one of which is SFTP's, and as many again may be of
/// commands that have ended and whose end it has not been told yet.
const COMMANDS: usize = 4;

/// Where to log in, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// The port of its ssh server.
    pub port: u16,
    /// The keys that it may show.
    pub host_keys: HostKeys,
    /// Who logs in.
    pub user: String,
    /// What the user shows.
    pub credential: Credential,
}

/// What a user logs in with. Its `Debug` does not tell it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password.
    Password(SecretString),
    /// A private key, as OpenSSH or PEM has it, without a passphrase.
    Key(SecretString),
}

/// An open connection. Whatever is asked of it gets a channel of its own.
pub struct Session {
    handle: Handle<Client>,
    host: String,
    commands: Semaphore,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(u32),
    /// By a signal, such as `TERM`.
    Signal(String),
}

/// What a command said.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Judges the other side's key.
struct Client {
    host_keys: HostKeys,
}

/// Why a connection could not be made, with a key that was refused told from the rest.
#[derive(Debug)]
enum ConnectError {
    Ssh(russh::Error),
    HostKey(String),
}

// === impl Session ===

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Error::Refused`] if the other side shows none of the keys, or does not let the user in.
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        let address = format!("{}:{}", target.host, target.port);
        match timeout(CONNECT_LIMIT, log_in(target)).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Unreachable(format!("{address} does not answer"))),
        }
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Runs `command` in the user's shell, with `stdin`, for at most as long as `limit`.
    pub async fn run(&self, command: &str, stdin: &[u8], limit: Duration) -> Result<Output, Error> {
        // Others' commands are not this one's fault.
        let _turn = self.commands.acquire().await;
        let channel = self.channel().await?;
        let (mut reader, writer) = channel.split();
        let conversation = async {
            writer.exec(true, command).await.map_err(|error| self.broken(&error))?;
            let write = async {
                // A command that ends without reading all of it has its own answer.
                let _ = writer.data(stdin).await;
                let _ = writer.eof().await;
            };
            let (collected, ()) = tokio::join!(self.collect(async || reader.wait().await), write);
            collected
        };
        let Ok(ended) = timeout(limit, conversation).await else {
            // OpenSSH counts a command until it ends, and allows ten: the connection is of no use any more.
            self.close().await;
            let host = &self.host;
            return Err(Error::Unreachable(format!(
                "{host}: a command took longer than {limit:?}"
            )));
        };
        if ended.is_err() {
            // It may be closed already.
            let _ = timeout(CLOSE_LIMIT, writer.close()).await;
        }
        ended
    }

    /// A channel on which the other side serves SFTP.
    pub async fn sftp_channel(&self) -> Result<russh::ChannelStream<Msg>, Error> {
        let channel = self.channel().await?;
        let requested = channel.request_subsystem(true, "sftp").await;
        requested.map_err(|error| self.broken(&error))?;
        Ok(channel.into_stream())
    }

    /// Takes leave.
    pub async fn close(&self) {
        // It ends without a leave, too.
        let leave = self.handle.disconnect(Disconnect::ByApplication, "", "");
        let _ = timeout(CLOSE_LIMIT, leave).await;
    }

    /// What comes until the channel is closed: output may follow the exit status.
    async fn collect(
        &self,
        mut next: impl AsyncFnMut() -> Option<ChannelMsg>,
    ) -> Result<Output, Error> {
        let (mut exit, mut stdout, mut stderr) = (None, Vec::new(), Vec::new());
        while let Some(message) = next().await {
            match message {
                ChannelMsg::Data { data } => stdout.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, ext: 1 } => stderr.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => exit = Some(Exit::Code(exit_status)),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    exit = Some(Exit::Signal(format!("{signal_name:?}")));
                }
                ChannelMsg::Failure => {
                    return Err(Error::failed(&self.host, "commands are not allowed"));
                }
                _ => {}
            }
            if stdout.len().max(stderr.len()) > OUTPUT_LIMIT {
                return Err(Error::failed(&self.host, "a command says more than is of use"));
            }
        }
        let exit = exit.ok_or_else(|| {
            Error::Unreachable(format!("{}: the connection ended during a command", self.host))
        })?;
        Ok(Output { exit, stdout, stderr })
    }

    async fn channel(&self) -> Result<russh::Channel<Msg>, Error> {
        let opened = timeout(SILENCE_LIMIT, self.handle.channel_open_session()).await;
        let silent = |_| Error::Unreachable(format!("{} opens no channel", self.host));
        opened.map_err(silent)?.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &russh::Error) -> Error {
        Error::Unreachable(format!("{}: {error}", self.host))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("host", &self.host).finish_non_exhaustive()
    }
}

async fn log_in(target: &Target) -> Result<Session, Error> {
    let key = match &target.credential {
        Credential::Password(_) => None,
        Credential::Key(text) => Some(private_key(text)?),
    };
    let mut handle = connect(target).await.map_err(|error| error.at(target))?;
    let result = match (&target.credential, key) {
        (Credential::Password(password), _) => {
            with_password(&mut handle, &target.user, password).await
        }
        (Credential::Key(_), key) => with_key(&mut handle, &target.user, key).await,
    };
    let broken = |error| ConnectError::Ssh(error).at(target);
    match result.map_err(broken)? {
        AuthResult::Success => {
            Ok(Session { handle, host: target.host.clone(), commands: Semaphore::new(COMMANDS) })
        }
        AuthResult::Failure { .. } => Err(Error::Refused(format!(
            "{} does not let {} in: wrong username or {}",
            target.host,
            target.user,
            target.credential.name()
        ))),
    }
}

/// A login node shows one of its keys: which, is for us to say.
async fn connect(target: &Target) -> Result<Handle<Client>, ConnectError> {
    let address = (target.host.as_str(), target.port);
    let mut shown = None;
    for algorithms in target.host_keys.offers() {
        let client = Client { host_keys: target.host_keys.clone() };
        match client::connect(Arc::new(config(algorithms)), address, client).await {
            Err(ConnectError::HostKey(key)) => shown = shown.or(Some(ConnectError::HostKey(key))),
            // It has no key of the others.
            Err(ConnectError::Ssh(russh::Error::NoCommonAlgo { .. })) if shown.is_some() => {}
            other => return other,
        }
    }
    Err(shown.unwrap_or(ConnectError::Ssh(russh::Error::WrongServerSig)))
}

/// Many clusters ask for the password in the form of a question.
async fn with_password(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
) -> Result<AuthResult, russh::Error> {
    let password = password.expose_secret();
    let result = handle.authenticate_password(user, password).await?;
    match &result {
        AuthResult::Failure { remaining_methods, .. }
            if remaining_methods.contains(&MethodKind::KeyboardInteractive) => {}
        _ => return Ok(result),
    }
    let mut reply = handle.authenticate_keyboard_interactive_start(user, None).await?;
    // A question that is asked again was answered wrongly.
    let mut asked = false;
    loop {
        match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(AuthResult::Success),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }
                if prompts.is_empty() || (prompts.len() == 1 && !asked) =>
            {
                asked |= !prompts.is_empty();
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                reply = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
            _ => return Ok(result),
        }
    }
}

async fn with_key(
    handle: &mut Handle<Client>,
    user: &str,
    key: Option<PrivateKey>,
) -> Result<AuthResult, russh::Error> {
    let key = key.ok_or(russh::Error::CouldNotReadKey)?;
    let hash: Option<HashAlg> = handle.best_supported_rsa_hash().await?.flatten();
    handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await
}

fn private_key(text: &SecretString) -> Result<PrivateKey, Error> {
    // The error's words may have parts of the key.
    decode_secret_key(text.expose_secret(), None).map_err(|_| {
        Error::Refused("ssh-privatekey is not a private key without a passphrase".to_owned())
    })
}

fn config(algorithms: Vec<Algorithm>) -> client::Config {
    client::Config {
        preferred: Preferred { key: algorithms.into(), ..Preferred::DEFAULT },
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(SILENCE_LIMIT),
        nodelay: true,
        window_size: WINDOW,
        ..client::Config::default()
    }
}

// === impl Credential ===

impl Credential {
    fn name(&self) -> &'static str {
        match self {
            Credential::Password(_) => "password",
            Credential::Key(_) => "ssh-privatekey",
        }
    }
}

// === impl Output ===

impl Output {
    /// What it said on its standard output, if it succeeded.
    ///
    /// # Errors
    /// If `what` it was to do failed, with what it said on its standard error.
    pub fn text(self, what: &str) -> Result<String, Error> {
        if self.exit == Exit::Code(0) {
            return Ok(String::from_utf8_lossy(&self.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&self.stderr);
        let message = match (stderr.trim(), &self.exit) {
            ("", Exit::Code(code)) => format!("exit code {code}"),
            ("", Exit::Signal(signal)) => format!("ended by signal {signal}"),
            (words, _) => words.to_owned(),
        };
        Err(Error::failed(what, message))
    }
}

// === impl Client ===

impl client::Handler for Client {
    type Error = ConnectError;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, ConnectError> {
        match key {
            PublicKeyOrCertificate::PublicKey { key, .. } if self.host_keys.allow(key) => Ok(true),
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let fingerprint = key.fingerprint(HashAlg::Sha256);
                Err(ConnectError::HostKey(format!("{} {fingerprint}", key.algorithm())))
            }
            PublicKeyOrCertificate::Certificate(_) => {
                Err(ConnectError::HostKey("a certificate".to_owned()))
            }
        }
    }
}

// === impl ConnectError ===

impl ConnectError {
    fn at(self, target: &Target) -> Error {
        let address = format!("{}:{}", target.host, target.port);
        match self {
            ConnectError::HostKey(shown) => Error::Refused(format!(
                "{address} shows another host key than the cluster's: {shown}"
            )),
            ConnectError::Ssh(error) => Error::Unreachable(format!("{address}: {error}")),
        }
    }
}

impl From<russh::Error> for ConnectError {
    fn from(error: russh::Error) -> Self {
        ConnectError::Ssh(error)
    }
}
