//! What plugins were asked for the pods of this node, on disk: a file for each.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use component::dual_stack::DualStack;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::configuration::{self, Network, PORTS, RANGES};
use crate::network::{Attachment, CniError, PortMapping, namespace_number, namespace_path};

/// Of the folder.
const PRIVATE: u32 = 0o700;

/// A pod that plugins connect or have connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Attached {
    pub(super) uid: String,
    pod_namespace: String,
    name: String,
    pub(super) sandbox: String,
    path: String,
    /// A path may lead elsewhere by now.
    number: u64,
    /// As it was then.
    pub(super) network: Network,
    /// What those plugins are told that have the capability.
    capabilities: Map<String, Value>,
    /// What came of it, if it has come to its end.
    pub(super) result: Option<Value>,
}

impl Attached {
    /// Before anything is done.
    pub(super) fn new(
        pod: &Attachment,
        network: Network,
        cidr: DualStack,
        ports: &[PortMapping],
    ) -> Result<Self, CniError> {
        let path = namespace_path(pod.pid);
        let ranges: Vec<_> = cidr.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
        let all = [(PORTS, Value::from(mappings(ports))), (RANGES, Value::from(ranges))];
        Ok(Self {
            uid: pod.pod.uid.clone(),
            pod_namespace: pod.pod.namespace.clone(),
            name: pod.pod.name.clone(),
            sandbox: pod.sandbox.clone(),
            number: namespace_number(&path).ok_or(CniError::NoNamespace)?,
            path,
            network,
            capabilities: all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
            result: None,
        })
    }

    /// The path of its network namespace, as long as there is one.
    pub(super) fn namespace(&self) -> Option<&str> {
        (namespace_number(&self.path) == Some(self.number)).then_some(self.path.as_str())
    }

    /// As Kubernetes' runtimes say it.
    pub(super) fn arguments(&self) -> String {
        let Self { uid, pod_namespace, name, sandbox, .. } = self;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={pod_namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={sandbox};K8S_POD_UID={uid}"
        )
    }

    /// What a plugin is told.
    pub(super) fn told(
        &self,
        plugin: &Map<String, Value>,
        before: Option<&Value>,
    ) -> Map<String, Value> {
        let mut told = plugin.clone();
        told.insert("name".to_owned(), self.network.name.clone().into());
        told.insert("cniVersion".to_owned(), self.network.version.clone().into());
        if let Some(before) = before {
            told.insert("prevResult".to_owned(), before.clone());
        }
        let able = self.capabilities.iter().filter(|(name, _)| configuration::has(plugin, name));
        let able: Map<_, _> = able.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !able.is_empty() {
            told.insert("runtimeConfig".to_owned(), able.into());
        }
        told
    }

    fn ports(&self) -> Vec<PortMapping> {
        let ports = self.capabilities.get(PORTS).and_then(Value::as_array);
        ports.into_iter().flatten().filter_map(read_port).collect()
    }
}

/// Those of both families are one mapping: plugins know which addresses the pod has.
fn mappings(ports: &[PortMapping]) -> Vec<Value> {
    let mut mappings = Vec::new();
    for mapping in ports.iter().filter(|port| port.host_port > 0).map(port) {
        if !mappings.contains(&mapping) {
            mappings.push(mapping);
        }
    }
    mappings
}

fn port(port: &PortMapping) -> Value {
    let PortMapping { protocol, host_ip, host_port, pod_port, .. } = port;
    let mut value = json!({"hostPort": host_port, "containerPort": pod_port, "protocol": protocol});
    if let Some(address) = host_ip {
        value["hostIP"] = json!(address);
    }
    value
}

fn read_port(value: &Value) -> Option<PortMapping> {
    let number = |key: &str| value[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(PortMapping {
        protocol: value["protocol"].as_str()?.to_owned(),
        host_ip: value["hostIP"].as_str().and_then(|address| address.parse().ok()),
        host_port: number("hostPort")?,
        pod_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        pod_port: number("containerPort")?,
    })
}

/// Those of all pods of this node.
#[derive(Debug)]
pub(super) struct Attachments {
    folder: PathBuf,
    /// By uid.
    pods: Mutex<BTreeMap<String, Attached>>,
}

impl Attachments {
    /// Those that an earlier kubelet has written. Nothing is made.
    pub(super) fn read(folder: PathBuf) -> Result<Self, CniError> {
        let failed = |step, source| CniError::File { step, file: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found.map_err(|source| failed("read", source))?),
        };
        let mut pods = BTreeMap::new();
        for entry in entries.into_iter().flatten().flatten() {
            let file = entry.path();
            if file.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let text = fs::read(&file).map_err(|source| failed("read", source))?;
            match serde_json::from_slice::<Attached>(&text) {
                Ok(pod) => drop(pods.insert(pod.uid.clone(), pod)),
                Err(error) => tracing::warn!(?file, %error, "cannot read what a pod was given"),
            }
        }
        Ok(Self { folder, pods: Mutex::new(pods) })
    }

    pub(super) fn all(&self) -> Vec<Attached> {
        self.pods.lock().values().cloned().collect()
    }

    pub(super) fn get(&self, pod: &str) -> Option<Attached> {
        self.pods.lock().get(pod).cloned()
    }

    /// The ports of the node that lead to the pod.
    pub(super) fn ports(&self, pod: &str) -> Vec<PortMapping> {
        self.pods.lock().get(pod).map(Attached::ports).unwrap_or_default()
    }

    pub(super) fn ports_of_others(&self, pod: &str) -> Vec<u16> {
        let pods = self.pods.lock();
        let others = pods.values().filter(|other| other.uid != pod);
        others.flat_map(Attached::ports).map(|port| port.host_port).collect()
    }

    /// The file is there whole or not at all. Nobody else reads it: configurations may have passwords.
    pub(super) fn write(&self, pod: &Attached) -> Result<(), CniError> {
        let file = self.file(&pod.uid);
        let written = || -> io::Result<()> {
            let new = file.with_extension("new");
            self.prepare()?;
            let mut options = File::options();
            let mut open =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            open.write_all(&serde_json::to_vec(pod)?)?;
            open.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|source| CniError::File { step: "write", file: file.clone(), source })?;
        self.pods.lock().insert(pod.uid.clone(), pod.clone());
        Ok(())
    }

    pub(super) fn remove(&self, pod: &str) -> Result<(), CniError> {
        let file = self.file(pod);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(CniError::File { step: "remove", file, source });
            }
            _ => {}
        }
        self.pods.lock().remove(pod);
        Ok(())
    }

    /// The folder may be of an earlier kubelet, which left it open.
    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&self.folder)?;
        fs::set_permissions(&self.folder, Permissions::from_mode(PRIVATE))
    }

    fn file(&self, pod: &str) -> PathBuf {
        self.folder.join(format!("{pod}.json"))
    }
}

#[cfg(test)]
#[path = "attachments_tests.rs"]
mod tests;
