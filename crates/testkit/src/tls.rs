//! Connections to an API server, of which the test itself says what goes over them.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use component::Credentials;
use rustls::{ClientConfig, pki_types::ServerName};
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

/// Says that it is who the kubeconfig is for.
pub(crate) fn connector(kubeconfig: &Path) -> TlsConnector {
    let credentials = Credentials::from_kubeconfig(kubeconfig).expect("a kubeconfig can be read");
    let roots = credentials.root_store().expect("the authority is one");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = config.with_client_auth_cert(credentials.certificate, credentials.key);
    TlsConnector::from(Arc::new(config.expect("the key is the certificate's")))
}
