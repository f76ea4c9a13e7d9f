//! The part of a pod's worker that reports: the status, and events about it.

use api_types::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use component::events::EventType;

use super::{
    conditions::OWNED_CONDITIONS,
    host_ports,
    plan::Plan,
    status,
    status_input::StatusInput,
    worker::{Update, Worker},
};
use crate::{admission::Rejection, runtime::observed::Observed, spec};

impl Worker {
    /// The pod with the status that was computed last, and what others wrote since.
    pub(super) fn with_latest_status(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let Some(mut own) = self.status.clone() else { return pod };
        let others = pod.status.take().unwrap_or_default();
        if matches!(others.phase.as_deref(), Some("Succeeded" | "Failed")) {
            own = PodStatus {
                phase: others.phase,
                reason: others.reason,
                message: others.message,
                ..own
            };
        }
        let conditions = own.conditions.get_or_insert_default();
        conditions.retain(|condition| OWNED_CONDITIONS.contains(&condition.type_.as_str()));
        let foreign = others.conditions.into_iter().flatten();
        conditions.extend(foreign.filter(|c| !OWNED_CONDITIONS.contains(&c.type_.as_str())));
        pod.status = Some(own);
        pod
    }

    /// Reports the pod as it is; of a deleted pod last how it ended, before anything of it is removed.
    pub(super) fn report(&mut self, pod: &Pod, update: &Update, observed: &Observed, plan: &Plan) {
        let starting = self.starts.are_under_way() || self.operations.connect();
        let terminated = update.stops() && !starting && observed.running().next().is_none();
        // From here on its containers vanish; that is no news about how they ended.
        let told = status::reported_end(pod).is_some();
        if update.gone || (told && (terminated || observed.is_empty())) {
            return;
        }
        let ips = self.ips(pod, observed);
        let status = status::compute(&StatusInput {
            pod,
            observed,
            terminated,
            evicted: update.evicted.as_deref(),
            starting,
            starts: &self.starts.names(),
            pulled: &self.pulled.borrow(),
            waiting: &plan.waiting,
            probed: &self.probes.results(),
            resizing: &self.resizing,
            messages: self.messages.by_id(),
            host_ip: &self.context.host_ip,
            second_host_ip: self.context.second_host_ip.as_deref(),
            pod_ip: ips.as_ref().map(|ips| ips.first.as_str()),
            second_pod_ip: ips.as_ref().and_then(|ips| ips.second.as_deref()),
            now: Timestamp::now(),
        });
        self.count_start(pod, &status);
        self.report_deadline(pod, &status);
        self.tell_resized(pod, &status);
        self.writer.set_chosen_ports(host_ports::news(pod, self.chosen_ports.as_deref()));
        self.writer.set(&status);
        self.status = Some(status);
        self.report_back_off(pod, observed, plan);
    }

    /// The pod fails before anything was made of it; so there is nothing else to say of it.
    pub(super) fn reject(&mut self, pod: &Pod, rejection: &Rejection) {
        let Rejection { reason, message } = rejection;
        self.context.pod_event(pod, EventType::Warning, reason, message);
        let status = PodStatus {
            phase: Some("Failed".to_owned()),
            reason: Some(reason.clone()),
            message: Some(format!("Pod was rejected: {message}")),
            observed_generation: pod.metadata.generation,
            ..pod.status.clone().unwrap_or_default()
        };
        self.writer.set(&status);
        self.status = Some(status);
    }

    fn count_start(&self, pod: &Pod, status: &PodStatus) {
        let runs = |status: &PodStatus| status.phase.as_deref() == Some("Running");
        if runs(status) && !pod.status.as_ref().is_some_and(runs) {
            self.context.metrics.pod_start.observe(self.begun.elapsed().as_secs_f64());
        }
    }

    fn report_deadline(&self, pod: &Pod, status: &PodStatus) {
        let exceeded = status.reason.as_deref() == Some(status::DEADLINE_EXCEEDED);
        if exceeded && status::reported_end(pod).is_none() {
            let (reason, message) = (status::DEADLINE_EXCEEDED, status::DEADLINE_MESSAGE);
            self.context.pod_event(pod, EventType::Normal, reason, message);
        }
    }

    fn report_back_off(&mut self, pod: &Pod, observed: &Observed, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            let attempt = observed.latest(name).map(|latest| latest.attempt).unwrap_or_default();
            let new = waiting.reason == "CrashLoopBackOff"
                && self.reported.insert((name.clone(), attempt));
            if new {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    spec::label(pod)
                );
                self.context.container_event(pod, name, EventType::Warning, "BackOff", message);
            }
        }
    }
}
