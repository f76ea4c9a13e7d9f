use super::*;
use crate::nginx::http::Http;

/// That of one of this title.
fn generation(title: &str) -> Generation {
    spec(title, 10).configuration.at(Epoch(0)).generation
}

fn spec(title: &str, last: u8) -> InstanceSpec {
    InstanceSpec {
        kind: "Service".to_owned(),
        uid: "u1".into(),
        owner: "default/web".into(),
        name: "web".into(),
        labels: BTreeMap::new(),
        addresses: [[10, 96, 0, last].into()].into(),
        configuration: Configuration {
            title: title.into(),
            connections: 512,
            stream: String::new(),
            http: Http::default(),
            affinity: None,
            draining_connections: 262_144,
        },
    }
}

fn answer(name: &str, telling: u64) -> Option<Answer> {
    let (generation, telling) = (generation(name), Telling(telling));
    Some(Answer { generation, telling, epoch: Epoch(0), connection: 1 })
}

impl Instance {
    fn tell(&mut self, name: &str, telling: u64) {
        self.told(generation(name), Telling(telling));
    }
}

fn found(running: bool) -> Found {
    Found {
        kind: "Service".to_owned(),
        id: "id".into(),
        owner: "default/web".into(),
        uid: "u1".into(),
        addresses: [[10, 96, 0, 10].into()].into(),
        running,
        current: true,
    }
}

fn adopted(running: bool) -> Instance {
    Instance::found(&found(running))
}

/// One that goes by `a`.
fn settled() -> Instance {
    let mut instance = adopted(true);
    instance.answered(answer("a", 1));
    instance.settle(&generation("a"));
    instance
}

fn check(instance: &Instance, wanted: &str, step: Step, fault: Option<Fault>) {
    let wanted = generation(wanted);
    assert_eq!((next_step(Some(instance), &wanted), instance.fault(&wanted)), (step, fault));
}

fn start(instance: &mut Instance, telling: u64) {
    instance.started();
    instance.tell("a", telling);
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_created_and_what_has_ended_started() {
    assert_eq!(next_step(None, &generation("a")), Step::Create);
    check(&adopted(false), "a", Step::Start, Some(Fault::Ended));
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_by_the_wanted_configuration_is_left_alone() {
    let instance = settled();
    pass(60).await;
    check(&instance, "a", Step::Nothing, None);
    check(&instance, "b", Step::Reload, None);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_was_not_taken_is_repeated_and_is_a_fault_until_it_is_taken() {
    let mut instance = settled();
    pass(60).await;
    instance.tell("b", 2);
    check(&instance, "b", Step::Wait, None);
    for telling in 3..6 {
        pass(5).await;
        check(&instance, "b", Step::Reload, Some(Fault::NotTaken));
        instance.tell("b", telling);
        check(&instance, "b", Step::Wait, Some(Fault::NotTaken));
    }
    assert!(instance.answered(answer("b", 5)));
    instance.settle(&generation("b"));
    check(&instance, "b", Step::Nothing, None);
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_worker_that_is_about_to_leave_does_not_count() {
    let mut instance = settled();
    instance.tell("b", 2);
    instance.answered(answer("b", 2));
    instance.settle(&generation("b"));
    // Back to `a`, of which the first worker has not closed its door yet.
    instance.answered(answer("a", 1));
    check(&instance, "a", Step::Reload, None);
    instance.tell("a", 3);
    check(&instance, "a", Step::Wait, None);
    instance.answered(answer("a", 3));
    check(&instance, "a", Step::Nothing, None);
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_reload_is_told_at_once() {
    let mut instance = settled();
    instance.tell("b", 2);
    check(&instance, "c", Step::Reload, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_coming_up_is_not_signalled() {
    let mut instance = adopted(false);
    start(&mut instance, 1);
    pass(1).await;
    check(&instance, "b", Step::Wait, None);
    instance.answered(answer("a", 1));
    check(&instance, "b", Step::Reload, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_never_comes_up_is_a_fault() {
    let mut instance = adopted(false);
    start(&mut instance, 1);
    pass(5).await;
    check(&instance, "a", Step::Reload, Some(Fault::NotTaken));
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_again_and_again_is_a_fault_and_no_tight_loop() {
    let mut instance = adopted(false);
    for telling in 1..4 {
        start(&mut instance, telling);
        pass(3).await;
        instance.seen(&found(false));
        check(&instance, "a", Step::Wait, Some(Fault::Ended));
        pass(7).await;
        check(&instance, "a", Step::Start, Some(Fault::Ended));
    }
    start(&mut instance, 1);
    check(&instance, "a", Step::Wait, Some(Fault::NotTaken));
}

#[tokio::test(start_paused = true)]
async fn being_always_one_behind_is_no_fault() {
    let mut instance = settled();
    let mut last = "a".to_owned();
    for telling in 2..22 {
        let next = telling.to_string();
        instance.tell(&next, telling);
        pass(1).await;
        instance.answered(answer(&last, telling - 1));
        check(&instance, "z", Step::Reload, None);
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_answering_is_given_a_moment_then_told_again() {
    let mut instance = settled();
    pass(60).await;
    instance.answered(None);
    check(&instance, "a", Step::Wait, None);
    pass(5).await;
    check(&instance, "a", Step::Reload, Some(Fault::NotTaken));
}
