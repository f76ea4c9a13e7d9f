//! The servers of a domain, asked one after the other as a `resolv.conf` has them: the first may know names that the
//! others deny. Another is asked only if one does not answer, or says that it can't.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};
use parking_lot::Mutex;

/// How many questions may be under way together: each has sockets, of which the program has so many. One pod's names that
/// nobody answers must not take them all.
pub(super) const UNDER_WAY: usize = 1000;
/// How many answers of each are kept.
const KEPT: u64 = 4096;
/// For how long at most: who changes a name outside waits no longer for pods than this.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// A server that did not answer is asked after the others for so long: not every name waits for it.
const LAST_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Servers(Vec<Server>);

#[derive(Debug)]
struct Server {
    resolver: TokioResolver,
    silent_since: Mutex<Option<Instant>>,
}

impl Servers {
    /// Which are given so long together.
    pub(super) fn new(servers: &[SocketAddr], patience: Duration) -> Result<Self, NetError> {
        // A datagram may be lost: who is alone is asked twice.
        let attempts = if servers.len() == 1 { 2 } else { servers.len().max(1) };
        let each = patience / u32::try_from(attempts).unwrap_or(u32::MAX);
        let retries = usize::from(servers.len() == 1);
        let server = |server: &SocketAddr| {
            let resolver = resolver(*server, each, retries)?;
            Ok(Server { resolver, silent_since: Mutex::default() })
        };
        servers.iter().map(server).collect::<Result<_, _>>().map(Self)
    }

    /// The answer of the first that gives one; else what the last one said.
    pub(super) async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Lookup, NetError> {
        let mut last = NetError::NoConnections;
        for server in self.in_turn() {
            match server.resolver.lookup(name.clone(), kind).await {
                Err(error) if is_silence(&error) => {
                    *server.silent_since.lock() = Some(Instant::now());
                    last = error;
                }
                Err(error) if is_inability(&error) => last = error,
                answer => {
                    *server.silent_since.lock() = None;
                    return answer;
                }
            }
        }
        Err(last)
    }

    fn in_turn(&self) -> impl Iterator<Item = &Server> {
        let is_silent = |server: &&Server| {
            server.silent_since.lock().is_some_and(|since| since.elapsed() < LAST_FOR)
        };
        let (silent, others): (Vec<_>, Vec<_>) = self.0.iter().partition(is_silent);
        others.into_iter().chain(silent)
    }
}

fn is_silence(error: &NetError) -> bool {
    !matches!(error, NetError::Dns(_))
}

fn is_inability(error: &NetError) -> bool {
    let NetError::Dns(DnsError::ResponseCode(code)) = error else { return false };
    matches!(code, ResponseCode::ServFail | ResponseCode::NotImp | ResponseCode::Refused)
}

fn resolver(
    server: SocketAddr,
    patience: Duration,
    retries: usize,
) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(vec![name_server(server)]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    (options.timeout, options.attempts) = (patience, retries);
    options.cache_size = KEPT;
    options.positive_max_ttl = Some(KEPT_FOR);
    options.negative_max_ttl = Some(KEPT_FOR);
    options.max_active_requests = UNDER_WAY;
    // Of the host's range for that: others are for those who listen.
    options.os_port_selection = true;
    // Names of the host's file are the host's.
    options.use_hosts_file = ResolveHosts::Never;
    // A client wants to see the way to what it asked for.
    options.preserve_intermediates = true;
    options.edns0 = true;
    builder.build()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::{RData, Record, rdata::A};
    use tokio::net::UdpSocket;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A server that says the same to all, if anything, and how often it was asked.
    struct Fake {
        address: SocketAddr,
        asked: Arc<AtomicUsize>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Fake {
        async fn start(says: Option<ResponseCode>) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let asked = Arc::<AtomicUsize>::default();
            let count = asked.clone();
            let task = tokio::spawn(async move {
                let mut buffer = [0; 512];
                loop {
                    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    let Some(code) = says else { continue };
                    let mut message = Message::from_vec(&buffer[..length]).unwrap();
                    message.metadata.message_type = MessageType::Response;
                    message.metadata.response_code = code;
                    if code == ResponseCode::NoError {
                        let name = message.queries[0].name().clone();
                        let address = RData::A(A::new(192, 0, 2, 1));
                        message.answers.push(Record::from_rdata(name, 60, address));
                    }
                    socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
                }
            });
            Self { address, asked, task }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    async fn look_up(servers: &Servers, name: &str) -> Result<usize, NetError> {
        let name = Name::from_ascii(name).unwrap();
        servers.lookup(&name, RecordType::A).await.map(|found| found.answers().len())
    }

    /// Each by what it says, the number of answers (none: no such name), and who was asked.
    async fn check(says: [Option<ResponseCode>; 2], answers: Option<usize>, asked: [bool; 2]) {
        let fakes = [Fake::start(says[0]).await, Fake::start(says[1]).await];
        let servers = Servers::new(&fakes.each_ref().map(|it| it.address), PATIENCE).unwrap();
        let found = look_up(&servers, "a.example.").await;
        assert_eq!(found.as_ref().ok(), answers.as_ref(), "{says:?} {found:?}");
        assert_eq!(fakes.each_ref().map(|it| it.asked() > 0), asked, "{says:?}");
    }

    #[tokio::test]
    async fn the_next_is_asked_only_if_one_can_not_answer() {
        use ResponseCode::{NXDomain, NoError, Refused, ServFail};
        check([Some(NoError), Some(NXDomain)], Some(1), [true, false]).await;
        check([Some(NXDomain), Some(NoError)], None, [true, false]).await;
        check([Some(ServFail), Some(NoError)], Some(1), [true, true]).await;
        check([Some(Refused), Some(NoError)], Some(1), [true, true]).await;
        check([None, Some(NoError)], Some(1), [true, true]).await;
    }

    #[tokio::test]
    async fn not_every_name_waits_for_a_server_that_is_silent() {
        let (silent, other) =
            (Fake::start(None).await, Fake::start(Some(ResponseCode::NoError)).await);
        let servers = Servers::new(&[silent.address, other.address], PATIENCE).unwrap();
        look_up(&servers, "a.example.").await.unwrap();
        let asked = silent.asked();
        look_up(&servers, "b.example.").await.unwrap();
        assert_eq!((silent.asked(), other.asked()), (asked, 2));
    }
}
