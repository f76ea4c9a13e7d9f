//! Addresses and rules in the kernel, in a network namespace of the test. Needs root and iptables.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use kube_proxy::addresses::{Addresses, Loopback};
use nix::sched::{CloneFlags, unshare};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const PODS: &str = "10.244.0.0/16";
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs on a thread with a network namespace of its own, which ends with it.
fn in_a_namespace(test: impl AsyncFnOnce(Loopback) + Send + 'static) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (needs root)");
        ip(&["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let addresses = Loopback::open("10.96.0.0/16".parse().unwrap(), PODS.parse().unwrap())
                .await
                .unwrap();
            addresses.fence().await.unwrap();
            addresses.take(VIP.into()).await.unwrap();
            test(addresses).await;
        });
    };
    thread::spawn(run).join().unwrap();
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success());
}

fn iptables(args: &[&str]) -> String {
    let output = Command::new("iptables").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Greets every connection; its port.
fn greeter(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        listener.incoming().for_each(|connection| connection.unwrap().write_all(b"hello").unwrap());
    });
    port
}

/// Echoes datagrams; its port.
fn echo(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    port
}

fn call(port: u16) -> Result<String, io::ErrorKind> {
    let address = SocketAddr::from((VIP, port));
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.kind())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.kind())?;
    Ok(text)
}

/// From a socket that is bound to no address, as most clients' are.
fn ask(port: u16) -> Result<usize, io::ErrorKind> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((VIP, port)).unwrap();
    socket.send(b"?").unwrap();
    socket.recv(&mut [0; 16]).map_err(|error| error.kind())
}

#[test]
fn only_who_has_bound_a_virtual_ip_answers_on_it() {
    in_a_namespace(async |addresses| {
        let everywhere = (greeter(Ipv4Addr::UNSPECIFIED), echo(Ipv4Addr::UNSPECIFIED));
        let service = (greeter(VIP), echo(VIP));
        assert_eq!(call(everywhere.0).unwrap(), "hello", "why there are rules");

        addresses.guard().await.unwrap();
        assert_eq!(call(everywhere.0), Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(ask(everywhere.1), Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(call(1), Err(io::ErrorKind::ConnectionRefused));
        assert_eq!((call(service.0).unwrap().as_str(), ask(service.1)), ("hello", Ok(1)));
        // Elsewhere the server is reached as ever.
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, everywhere.0)).is_ok());
    });
}

#[test]
fn the_rules_are_there_once_and_come_back_after_a_flush() {
    in_a_namespace(async |addresses| {
        iptables(&["-A", "INPUT", "-p", "tcp", "-j", "ACCEPT"]);
        addresses.guard().await.unwrap();
        let rules = iptables(&["-S"]);
        addresses.guard().await.unwrap();
        assert_eq!(iptables(&["-S"]), rules);
        let everywhere = greeter(Ipv4Addr::UNSPECIFIED);
        assert_eq!(call(everywhere), Err(io::ErrorKind::ConnectionRefused));

        iptables(&["-F"]);
        assert!(call(everywhere).is_ok());
        addresses.guard().await.unwrap();
        assert_eq!(call(everywhere), Err(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn the_addresses_of_the_range_are_told_from_the_others() {
    in_a_namespace(async |addresses| {
        ip(&["address", "add", "198.51.100.7/32", "dev", "lo"]);
        let listed = addresses.list().await.unwrap();
        assert_eq!(listed.held, [VIP.into()].into());
        let others: [IpAddr; 3] =
            ["127.0.0.1", "::1", "198.51.100.7"].map(|it| it.parse().unwrap());
        assert_eq!(listed.all, others.into_iter().chain([VIP.into()]).collect());
        addresses.release(VIP.into()).await.unwrap();
        addresses.take(Ipv4Addr::new(198, 51, 100, 8).into()).await.unwrap_err();
        let listed = addresses.list().await.unwrap();
        assert_eq!((listed.held, listed.all), ([].into(), others.into()));
    });
}

#[test]
fn an_address_may_be_taken_and_released_twice() {
    in_a_namespace(async |addresses| {
        // The first time was before.
        addresses.take(VIP.into()).await.unwrap();
        assert_eq!(addresses.list().await.unwrap().held, [VIP.into()].into());
        for _ in 0..2 {
            addresses.release(VIP.into()).await.unwrap();
            assert!(addresses.list().await.unwrap().held.is_empty());
        }
    });
}
