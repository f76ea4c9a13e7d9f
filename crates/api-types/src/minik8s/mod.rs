//! Our own kinds, `minik8s.io/v1`, all namespaced: plain data with Kubernetes' conventions (`spec` is the wish,
//! `status` what was found, conditions and phases in Kubernetes' words).

mod dns;
mod function;
mod gpu_job;
mod resource;
mod runtime;
mod scheduling;
mod workflow;
mod workflow_run;

pub use dns::{Dns, DnsPath, DnsService, DnsSpec, DnsStatus};
pub use function::{
    CallLimits, Function, FunctionSource, FunctionSpec, FunctionStatus, FunctionVersion,
    FunctionVersionPhase,
};
pub use gpu_job::{
    Credentials, GpuJob, GpuJobCluster, GpuJobSources, GpuJobSpec, GpuJobStatus, GpuJobTask,
    NameRef,
};
pub use runtime::{Language, Runtime, RuntimeImage};
pub use scheduling::{
    SCHEDULER_CONFIG_NAME, SCHEDULER_CONFIG_NAMESPACE, SCHEDULING_STRATEGIES, STRATEGY_KEY,
};
pub use workflow::{
    Choice, LastRun, NodeType, Retry, Workflow, WorkflowNode, WorkflowSpec, WorkflowStatus,
};
pub use workflow_run::{
    RunPhase, Step, StepFailure, WorkflowRun, WorkflowRunSpec, WorkflowRunStatus,
};

/// The API group of our kinds.
pub const GROUP: &str = "minik8s.io";
/// The only version of the group.
pub const VERSION: &str = "v1";
/// `apiVersion` of our kinds.
pub const API_VERSION: &str = "minik8s.io/v1";
