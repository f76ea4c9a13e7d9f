//! Who is let in, and whom we believe.

use std::time::{Duration, Instant};

use gpu_server::{
    remote::Remote,
    ssh::{Credential, Error, Exit, HostKeys, Target},
};
use testkit::{Slurm, wait};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::rig::{connect, target};

async fn refused(target: Target) -> String {
    match Remote::connect(&target).await {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[tokio::test]
async fn a_password_or_a_key_and_a_host_key_in_each_of_its_forms_open_the_door() {
    let slurm = Slurm::without_accounting();
    let whoami = async |target: &Target| {
        let remote = Remote::connect(target).await.unwrap();
        remote.run("id -un").await.unwrap().text("id").unwrap()
    };
    let user = format!("{}\n", slurm.user());
    let password = target(&slurm);
    assert_eq!(whoami(&password).await, user);
    let credential = Credential::Key(slurm.key().into());
    assert_eq!(whoami(&Target { credential, ..password.clone() }).await, user);
    let known = HostKeys::parse::<&str>("127.0.0.1", slurm.port(), &[], Some(&slurm.known_hosts()));
    assert_eq!(whoami(&Target { host_keys: known.unwrap(), ..password.clone() }).await, user);
    let fingerprint = ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()];
    let other = HostKeys::parse("127.0.0.1", slurm.port(), &fingerprint, None).unwrap();
    let why = refused(Target { host_keys: other, ..password.clone() }).await;
    assert!(why.contains("shows another host key") && why.contains("SHA256:"), "{why}");

    let credential = Credential::Password("wrong".to_owned().into());
    let why = refused(Target { credential, ..password.clone() }).await;
    assert_eq!(
        why,
        format!("127.0.0.1 does not let {} in: wrong username or password", slurm.user())
    );
    let credential = Credential::Key("no key".to_owned().into());
    let why = refused(Target { credential, ..password.clone() }).await;
    assert_eq!(why, "ssh-privatekey is not a private key without a passphrase");
    let shown = format!("{password:?}");
    assert!(!shown.contains(&slurm.password()), "{shown}");
}

#[tokio::test]
async fn a_command_gives_its_output_and_how_it_ended() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let output = remote.run("echo out; echo err >&2; exit 7").await.unwrap();
    assert_eq!((output.exit.clone(), &output.stdout[..]), (Exit::Code(7), &b"out\n"[..]));
    let error = output.text("trying").unwrap_err();
    assert!(
        matches!(&error, Error::Failed { .. }) && error.to_string() == "trying: err",
        "{error}"
    );
    let output = remote.run("kill -TERM $$").await.unwrap();
    assert_eq!(output.exit, Exit::Signal("TERM".to_owned()));
    let output = remote.run("head -c 4000000 /dev/zero; cat").await.unwrap();
    assert_eq!(output.stdout.len(), 4_000_000);
    let too_much = remote.run("head -c 30000000 /dev/zero").await.unwrap_err();
    assert!(!too_much.is_transient(), "{too_much}");
    // What the user's shell says at its start is no answer.
    std::fs::write(slurm.home().join(".bashrc"), "echo welcome\n").unwrap();
    let output = remote.run("echo answer").await.unwrap();
    assert_eq!(output.text("echo").unwrap(), "answer\n");
    let many = (0..30).map(|n| {
        let remote = &remote;
        async move { remote.run(&format!("echo {n}")).await.unwrap().text("echo").unwrap() }
    });
    let answers = futures::future::join_all(many).await;
    assert_eq!(answers.last().unwrap(), "29\n");
    // The login node counts a command that was given up, and allows a few only.
    let late = remote.run_for("exec sleep 300", Duration::from_millis(20)).await.unwrap_err();
    assert!(late.is_transient(), "{late}");
    wait::until("it is closed", async || remote.is_closed().then_some(()).ok_or("open")).await;
}

#[tokio::test]
async fn a_login_node_that_goes_away_is_noticed_and_can_be_reached_again() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let running = async { remote.run("sleep 300").await };
    let stop = async {
        wait::until("the command runs", async || {
            remote.run("pgrep -x sleep").await.unwrap().text("pgrep")
        })
        .await;
        slurm.stop("sshd");
    };
    let (ended, ()) = tokio::join!(wait::within("the command ends", running), stop);
    assert!(ended.unwrap_err().is_transient());
    wait::until("that is noticed", async || remote.is_closed().then_some(()).ok_or("open")).await;
    assert!(remote.run("true").await.unwrap_err().is_transient());
    let begin = Instant::now();
    let away = Remote::connect(&target(&slurm)).await.unwrap_err();
    assert!(away.is_transient() && begin.elapsed() < Duration::from_secs(5), "{away}");
    slurm.start_again("sshd");
    assert!(connect(&slurm).await.run("true").await.is_ok());
}

#[tokio::test]
async fn a_login_node_that_takes_nothing_any_more_is_given_up() {
    let slurm = Slurm::without_accounting();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let login = (slurm.host().to_owned(), slurm.port());
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(login).await.unwrap();
        tokio::select! {
            ended = copy_bidirectional(&mut client, &mut server) => panic!("{ended:?}"),
            _ = stopped.changed() => {}
        }
        std::future::pending::<()>().await;
    });
    let remote = Remote::connect(&Target { port, ..target(&slurm) }).await.unwrap();
    stop.send(true).unwrap();
    // More than what is between the two takes.
    let content = vec![0; 64 << 20];
    let big = format!("{}/big", slurm.home().display());
    let put = tokio::time::timeout(Duration::from_secs(90), remote.put(&big, &content, 0o600));
    let error = put.await.expect("it is given up").unwrap_err();
    assert!(error.is_transient(), "{error}");
    wait::until("it is closed", async || remote.is_closed().then_some(()).ok_or("open")).await;
}
