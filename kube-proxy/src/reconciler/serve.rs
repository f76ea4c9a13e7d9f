//! Bringing Services up: for each that is not known to be as it should, the next step.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{PARALLEL, ReconcileError, Reconciler, STARTS, Summary};
use crate::{
    addresses::Addresses,
    configs::Directory,
    containers::Containers,
    instance::{Fault, Instance, Step, next_step},
    nginx::{self, Config},
    plan::ServicePlan,
};

/// One Service that is not known to be as it should.
pub(super) struct Work {
    pub(super) plan: Arc<ServicePlan>,
    config: Config,
    instance: Option<Instance>,
    pub(super) workers_ended: usize,
}

/// The same afterwards.
struct Done {
    work: Work,
    /// Whether the node holds its address.
    addressed: bool,
    result: Result<Step, ReconcileError>,
}

impl Work {
    fn is_start(&self) -> bool {
        let step = next_step(self.instance.as_ref(), &self.config.generation);
        matches!(step, Step::Create | Step::Start)
    }

    fn fault(&self) -> Option<(&str, Fault)> {
        let instance = self.instance.as_ref()?;
        Some((&instance.id, instance.fault(&self.config.generation)?))
    }
}

impl<C: Containers, A: Addresses> Reconciler<C, A> {
    pub(super) async fn serve_due(&mut self, summary: &mut Summary) {
        let due = self.due.clone();
        let work: Vec<_> = due.iter().filter_map(|uid| self.prepare(uid)).collect();
        let work = self.limit_starts(work, summary);
        let this = &*self;
        let work: Vec<_> = work.into_iter().map(|work| this.serve(work)).collect();
        let done: Vec<_> = stream::iter(work).buffer_unordered(PARALLEL).collect().await;
        for Done { work, addressed, result } in done {
            summary.count(&work, result);
            if addressed {
                self.held.insert(work.plan.ip);
            }
            self.instances.extend(work.instance.map(|instance| (work.plan.uid.clone(), instance)));
        }
    }

    /// What is quick comes first; of the others, those that are too many are left to later passes.
    fn limit_starts(&mut self, work: Vec<Work>, summary: &mut Summary) -> Vec<Work> {
        let (mut starts, mut now): (Vec<_>, Vec<_>) = work.into_iter().partition(Work::is_start);
        if starts.len() > STARTS {
            let first = self.turn % starts.len();
            starts.rotate_left(first);
            self.turn = self.turn.wrapping_add(STARTS);
            let later = starts.split_off(STARTS);
            summary.pending += later.len();
            let known = later.into_iter().filter_map(|work| Some((work.plan, work.instance?)));
            self.instances.extend(known.map(|(plan, instance)| (plan.uid.clone(), instance)));
        }
        now.extend(starts);
        now
    }

    /// Nothing if the Service is as it should be.
    fn prepare(&mut self, uid: &str) -> Option<Work> {
        let epoch = self.instances.get(uid).map(Instance::epoch).unwrap_or_default();
        let wanted = self.wanted.get_mut(uid)?;
        let (config, plan) = (wanted.config(epoch).clone(), wanted.plan.clone());
        let well = self.instances.get_mut(uid).is_some_and(|instance| {
            // A look may have found it so, which ends what was expected of it.
            instance.settle(&config.generation);
            instance.goes_by(&config.generation)
        });
        if well && self.held.contains(&plan.ip) && !self.is_to_be_asked(uid, &plan) {
            self.due.remove(uid);
            return None;
        }
        Some(Work { plan, config, instance: self.instances.remove(uid), workers_ended: 0 })
    }

    async fn serve(&self, mut work: Work) -> Done {
        let taken = match self.held.contains(&work.plan.ip) {
            true => Ok(()),
            false => self.addresses.take(work.plan.ip).await,
        };
        let addressed = taken.is_ok();
        let result = match taken {
            Ok(()) => self.bring_up(&mut work).await,
            Err(error) => Err(error.into()),
        };
        Done { work, addressed, result }
    }

    async fn bring_up(&self, work: &mut Work) -> Result<Step, ReconcileError> {
        let directory = self.configs.directory(&work.plan.uid);
        self.ask(work, &directory).await;
        let step = next_step(work.instance.as_ref(), &work.config.generation);
        self.take(step, work, &directory).await?;
        match work.fault() {
            None => Ok(step),
            Some((id, fault)) => Err(self.explain(id, fault).await),
        }
    }

    /// Asks an nginx that was told something what it goes by now.
    async fn ask(&self, work: &mut Work, directory: &Directory) {
        let Some(instance) = work.instance.as_mut().filter(|instance| instance.is_running()) else {
            return;
        };
        let Some(in_force) = self.containers.in_force(directory).await else {
            instance.answered(None);
            return;
        };
        if instance.answered(Some(in_force.answer.clone())) {
            info!(service = %work.plan, "its nginx goes by a new configuration");
            let limit = work.config.draining_workers;
            match self.containers.end_surplus_workers(&in_force, limit).await {
                Ok(ended) => work.workers_ended += ended,
                Err(error) => warn!(service = %work.plan, %error, "cannot count its old workers"),
            }
        }
        if work.plan.affinity.is_some_and(|affinity| instance.forget_clients(affinity)) {
            work.config = nginx::render(&work.plan, instance.epoch());
        }
        instance.settle(&work.config.generation);
    }

    async fn take(
        &self,
        step: Step,
        work: &mut Work,
        directory: &Directory,
    ) -> Result<(), ReconcileError> {
        if matches!(step, Step::Wait | Step::Nothing) {
            return Ok(());
        }
        let telling = self.next_telling();
        directory.write(&work.config.text(telling))?;
        self.tell(step, &work.plan, &mut work.instance, directory).await?;
        if let Some(instance) = &mut work.instance {
            instance.told(work.config.generation.clone(), telling);
        }
        info!(service = %work.plan, ?step, "done");
        Ok(())
    }

    /// Has an nginx read its configuration.
    async fn tell(
        &self,
        step: Step,
        plan: &ServicePlan,
        instance: &mut Option<Instance>,
        directory: &Directory,
    ) -> Result<(), ReconcileError> {
        match instance {
            Some(instance) if step == Step::Start => {
                self.restart(plan, &instance.id, directory).await?;
                instance.started();
            }
            Some(instance) => self.containers.reload(&instance.id).await?,
            none => {
                directory.before_start()?;
                let id = self.containers.create(plan, directory).await?;
                none.insert(Instance::created(id, plan)).started();
            }
        }
        Ok(())
    }

    async fn restart(
        &self,
        plan: &ServicePlan,
        id: &str,
        directory: &Directory,
    ) -> Result<(), ReconcileError> {
        let said = self.last_words(id).await;
        warn!(service = %plan, said, "its nginx has ended; starting it again");
        directory.before_start()?;
        Ok(self.containers.start(id).await?)
    }

    async fn explain(&self, id: &str, fault: Fault) -> ReconcileError {
        let said = self.last_words(id).await;
        match fault {
            Fault::Ended => ReconcileError::Ended(said),
            Fault::NotTaken => ReconcileError::NotTaken(said),
        }
    }

    async fn last_words(&self, id: &str) -> String {
        self.containers.last_words(id).await.unwrap_or_default().trim().to_owned()
    }
}
