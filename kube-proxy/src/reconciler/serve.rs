//! Bringing nginxes up: for each that is not known to be as it should, the next step.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{PARALLEL, ReconcileError, Reconciler, STARTS, Summary};
use crate::{
    addresses::{AddressError, Addresses},
    configs::Directory,
    containers::Containers,
    instance::{Fault, Instance, InstanceSpec, Step, next_step},
    nginx::Config,
};

/// One that is not known to be as it should.
struct Work {
    spec: Arc<InstanceSpec>,
    config: Config,
    instance: Option<Instance>,
    workers_ended: usize,
}

/// The same afterwards.
struct Done {
    work: Work,
    /// Addresses that it has and the node did not hold.
    taken: BTreeSet<IpAddr>,
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
        for Done { work, taken, result } in done {
            summary.workers_ended += work.workers_ended;
            summary.count(&work.spec, work.instance.as_ref(), result);
            self.held.extend(taken);
            self.instances.extend(work.instance.map(|instance| (work.spec.uid.clone(), instance)));
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
            summary.starting += later.len();
            let known = later.into_iter().filter_map(|work| Some((work.spec, work.instance?)));
            self.instances.extend(known.map(|(spec, instance)| (spec.uid.clone(), instance)));
        }
        now.extend(starts);
        now
    }

    /// Nothing if it is as it should be.
    fn prepare(&mut self, uid: &str) -> Option<Work> {
        let epoch = self.instances.get(uid).map(Instance::epoch).unwrap_or_default();
        let wanted = self.wanted.get_mut(uid)?;
        let (config, spec) = (wanted.config(epoch).clone(), wanted.spec.clone());
        let well = self.instances.get_mut(uid).is_some_and(|instance| {
            // A look may have found it so, which ends what was expected of it.
            instance.settle(&config.generation);
            instance.goes_by(&config.generation)
        });
        let addressed = spec.addresses.is_subset(&self.held);
        if well && addressed && !self.is_to_be_asked(uid, &spec) {
            self.due.remove(uid);
            return None;
        }
        Some(Work { spec, config, instance: self.instances.remove(uid), workers_ended: 0 })
    }

    async fn serve(&self, mut work: Work) -> Done {
        let mut taken = BTreeSet::new();
        let result = match self.address(&work.spec, &mut taken).await {
            Ok(()) => self.bring_up(&mut work).await,
            Err(error) => Err(error.into()),
        };
        Done { work, taken, result }
    }

    async fn address(
        &self,
        spec: &InstanceSpec,
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<(), AddressError> {
        for address in spec.addresses.difference(&self.held) {
            self.addresses.take(*address).await?;
            taken.insert(*address);
        }
        Ok(())
    }

    async fn bring_up(&self, work: &mut Work) -> Result<Step, ReconcileError> {
        let directory = self.configs.directory(&work.spec.uid);
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
            info!(owner = work.spec.owner, "its nginx goes by a new configuration");
            let limit = work.config.draining_workers;
            match self.containers.end_surplus_workers(&in_force, limit).await {
                Ok(old) => {
                    instance.keeps_old_workers(old.left);
                    work.workers_ended += old.ended;
                }
                Err(error) => {
                    warn!(owner = work.spec.owner, %error, "cannot count its old workers")
                }
            }
        }
        let configuration = &work.spec.configuration;
        if configuration.affinity.is_some_and(|affinity| instance.forget_clients(affinity)) {
            work.config = configuration.at(instance.epoch());
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
        directory.write(&work.config.text(telling), work.config.files())?;
        self.tell(step, &work.spec, &mut work.instance, directory).await?;
        if let Some(instance) = &mut work.instance {
            if step == Step::Reload {
                instance.reloaded(&work.config.generation);
            }
            instance.told(work.config.generation.clone(), telling);
        }
        info!(owner = work.spec.owner, ?step, "done");
        Ok(())
    }

    /// Has an nginx read its configuration.
    async fn tell(
        &self,
        step: Step,
        spec: &InstanceSpec,
        instance: &mut Option<Instance>,
        directory: &Directory,
    ) -> Result<(), ReconcileError> {
        match instance {
            Some(instance) if step == Step::Start => {
                self.restart(spec, &instance.id, directory).await?;
                instance.started();
            }
            Some(instance) => self.containers.reload(&instance.id).await?,
            none => {
                directory.before_start()?;
                let id = self.containers.create(spec, directory).await?;
                none.insert(Instance::created(id, spec)).started();
            }
        }
        Ok(())
    }

    async fn restart(
        &self,
        spec: &InstanceSpec,
        id: &str,
        directory: &Directory,
    ) -> Result<(), ReconcileError> {
        let said = self.last_words(id).await;
        warn!(owner = spec.owner, said, "its nginx has ended; starting it again");
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
