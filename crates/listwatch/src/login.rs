//! From what the flags say of a Redis server to a client of it.

use component::RedisServer;
use redis::{IntoConnectionInfo, TlsCertificates};
use secrecy::ExposeSecret;

/// Why a listener or publisher cannot be made. After that, nothing fails: it degrades.
#[derive(Debug, thiserror::Error)]
#[error("cannot use Redis at {url}")]
pub struct Error {
    url: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

pub(crate) fn open(server: &RedisServer) -> Result<redis::Client, Error> {
    let url = server.url.expose_secret();
    client(url, server)
        .map_err(|source| Error { url: without_login(url), source: Box::new(source) })
}

fn client(url: &str, server: &RedisServer) -> redis::RedisResult<redis::Client> {
    let mut connection = url.into_connection_info()?;
    if let Some(password) = &server.password {
        let login = connection.redis_settings().clone().set_password(password.expose_secret());
        connection = connection.set_redis_settings(login);
    }
    let Some(authorities) = &server.authorities else { return redis::Client::open(connection) };
    let root_cert = Some(authorities.clone());
    redis::Client::build_with_tls(connection, TlsCertificates { client_tls: None, root_cert })
}

/// What of a URL may be shown.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use testkit::{Authority, Redis};

    use super::*;

    fn refused(server: &RedisServer) -> String {
        let error = open(server).unwrap_err();
        format!("{error}: {}", error.source().unwrap())
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let said = refused(&"redis://me:se@cret@h:port".into());
        assert!(said.starts_with("cannot use Redis at redis://h:port: "), "{said}");
        assert!(!said.contains("cret"), "{said}");
    }

    async fn ping(server: &RedisServer) -> redis::RedisResult<()> {
        let mut connection = open(server).unwrap().get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async(&mut connection).await
    }

    #[tokio::test]
    async fn a_server_over_tls_is_told_by_its_authority_and_told_the_password() {
        let authority = Authority::new();
        let redis = Redis::spawn_secured(&authority).await;
        let server = RedisServer {
            password: Some(Redis::PASSWORD.into()),
            authorities: Some(fs::read(authority.authority()).unwrap()),
            ..redis.server()
        };
        ping(&server).await.unwrap();
        let other = Some(fs::read(Authority::new().authority()).unwrap());
        for wrong in [
            RedisServer { password: None, ..server.clone() },
            RedisServer { password: Some("swordfish".into()), ..server.clone() },
            RedisServer { authorities: None, ..server.clone() },
            RedisServer { authorities: other, ..server.clone() },
        ] {
            assert!(ping(&wrong).await.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_authority_without_tls_is_refused() {
        let authorities = Some(Vec::new());
        let said = refused(&RedisServer { authorities, .."redis://h".into() });
        assert!(said.contains("rediss://"), "{said}");
    }
}
