use std::path::Path;

use super::*;
use crate::runtime::PodIdentity;

fn network() -> Network {
    serde_json::from_value(json!({
        "name": "n", "version": "1.0.0", "unchecked": false, "plugins": [
            {"type": "bridge"},
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "host", "capabilities": {"ipRanges": true}},
        ],
    }))
    .unwrap()
}

fn attached(uid: &str, host_port: u16) -> Attached {
    let pod = PodIdentity { uid: uid.into(), namespace: "default".into(), name: "web".into() };
    let pid = i32::try_from(std::process::id()).unwrap();
    let port = PortMapping {
        protocol: "tcp".into(),
        host_ip: Some([127, 0, 0, 1].into()),
        host_port,
        pod_ip: Ipv4Addr::UNSPECIFIED.into(),
        pod_port: 80,
    };
    let everywhere = |pod_ip: IpAddr| PortMapping { host_ip: None, pod_ip, ..port.clone() };
    let both = ["0.0.0.0", "::"].map(|ip| everywhere(ip.parse().unwrap()));
    let unchosen = PortMapping { host_port: 0, ..port.clone() };
    let pod = Attachment { pod, sandbox: "c1".into(), pid, ports: Vec::new() };
    let cidr = "10.1.2.0/24,fd00:1::/64".parse().unwrap();
    let [first, second] = both;
    Attached::new(&pod, network(), cidr, &[port, unchosen, first, second]).unwrap()
}

#[test]
fn plugins_are_told_of_the_network_what_was_before_and_what_they_are_able_to() {
    let pod = attached("u", 8080);
    let told = |place: usize, before: Option<Value>| {
        Value::from(pod.told(&pod.network.plugins[place], before.as_ref()))
    };
    assert_eq!(told(0, None), json!({"type": "bridge", "name": "n", "cniVersion": "1.0.0"}));
    let portmap = told(1, Some(json!({"ips": []})));
    assert_eq!(portmap["prevResult"], json!({"ips": []}));
    let mapping =
        json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"});
    let of_both = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    assert_eq!(portmap["runtimeConfig"], json!({"portMappings": [mapping, of_both]}));
    let ranges = json!({"ipRanges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00:1::/64"}]]});
    assert_eq!(told(2, None)["runtimeConfig"], ranges);
    assert_eq!(
        pod.arguments(),
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;\
         K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u"
    );
}

#[test]
fn what_was_written_is_known_to_the_next_kubelet_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let read = || Attachments::read(folder.path().join("cni")).unwrap();
    let pods = read();
    pods.write(&attached("a", 8080)).unwrap();
    pods.write(&attached("b", 8081)).unwrap();
    // As of one that was cut off.
    fs::write(folder.path().join("cni/c.new"), "{").unwrap();
    fs::write(folder.path().join("cni/d.json"), "{").unwrap();
    let pods = read();
    let uids = |pods: &Attachments| pods.all().into_iter().map(|pod| pod.uid).collect::<Vec<_>>();
    assert_eq!(uids(&pods), ["a", "b"]);
    assert_eq!(pods.ports("a")[0].host_port, 8080);
    assert_eq!(pods.ports_of_others("a"), [8081, 8081]);
    pods.remove("a").unwrap();
    pods.remove("a").unwrap();
    assert_eq!(uids(&read()), ["b"]);
}

#[test]
fn a_namespace_is_the_pods_as_long_as_its_number_is() {
    let pod = attached("u", 1);
    assert_eq!(pod.namespace(), Some(pod.path.as_str()));
    let other = Attached { number: pod.number + 1, ..pod };
    assert_eq!(other.namespace(), None);
}

#[test]
fn what_plugins_were_told_is_read_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cni");
    let pods = Attachments::read(place.clone()).unwrap();
    assert!(!place.exists(), "it was only read");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
    pods.write(&attached("a", 8080)).unwrap();
    assert_eq!((mode(&place), mode(&place.join("a.json"))), (0o700, 0o600));
}
