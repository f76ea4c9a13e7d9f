//! Connections to an API server, of which the test itself says what goes over them.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use component::Credentials;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) async fn connect(
    connector: &TlsConnector,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect(ServerName::IpAddress(address.ip().into()), stream).await
}

/// Of who the kubeconfig is for. Each connection begins as a stranger's: none goes on with the session of another.
pub(crate) fn client_config(kubeconfig: &Path) -> Arc<ClientConfig> {
    let credentials = Credentials::from_kubeconfig(kubeconfig).expect("a kubeconfig can be read");
    let roots = credentials.root_store().expect("the authority is one");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = config.with_client_auth_cert(credentials.certificate, credentials.key);
    let mut config = config.expect("the key is the certificate's");
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
