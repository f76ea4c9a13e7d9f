//! From a question to the answer on the wire.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Metadata, OpCode, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};
use hickory_resolver::net::{DnsError, NetError, NoRecords, runtime::Time};
use hickory_server::{
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use parking_lot::RwLock;
use tracing::debug;

use super::{
    metrics::Metrics,
    reply::{Outcome, Reply, reply},
    upstream::{LookupError, Upstream},
    zone::Zone,
};

/// What any path takes in one piece (<https://www.dnsflagday.net/2020/>).
const DATAGRAM: u16 = 1232;
/// What every client takes.
const SMALLEST_DATAGRAM: u16 = 512;

/// Answers questions by the zone and, beyond it, by what others know.
#[derive(Clone, Debug)]
pub struct Handler {
    pub(super) zone: Arc<RwLock<Zone>>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) metrics: Metrics,
}

/// What is sent.
struct Response {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    additionals: Vec<Record>,
    soa: Option<Record>,
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut to: R,
    ) -> ResponseInfo {
        let response = match refusal(request) {
            Some(code) => Response::error(code),
            None => self.respond(request).await,
        };
        self.metrics.answered(response.authoritative, response.code);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = response.code;
        metadata.authoritative = response.authoritative;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(edns);
        let message = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
            metadata,
            &response.answers,
            [],
            &response.soa,
            &response.additionals,
        );
        match to.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                debug!(%error, "cannot answer");
                failed(metadata)
            }
        }
    }
}

impl Handler {
    async fn respond(&self, request: &Request) -> Response {
        let Ok(info) = request.request_info() else {
            return Response::error(ResponseCode::FormErr);
        };
        let (question, kind) = (info.query.original(), info.query.query_type());
        let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
        if info.query.query_class() != DNSClass::IN || is_transfer {
            return Response::error(ResponseCode::Refused);
        }
        let mut reply = reply(&self.zone.read(), question.name(), kind);
        turn(&mut reply.answers, kind, usize::from(request.metadata.id));
        match reply.outcome {
            Outcome::Found => Response::own(ResponseCode::NoError, reply),
            Outcome::NotFound => Response::own(ResponseCode::NXDomain, reply),
            Outcome::NotYet => Response::error(ResponseCode::ServFail),
            Outcome::Onward(ref name) => {
                let answer = self.upstream.lookup(name, kind).await;
                Response::of_others(reply, answer.map(|lookup| lookup.answers().to_vec()))
            }
        }
    }
}

impl Response {
    fn error(code: ResponseCode) -> Self {
        Response { code, authoritative: false, answers: vec![], additionals: vec![], soa: None }
    }

    fn own(code: ResponseCode, reply: Reply) -> Self {
        let Reply { answers, additionals, soa, .. } = reply;
        Response { code, authoritative: true, answers, additionals, soa }
    }

    /// What others say of the last name, after the aliases that lead there.
    fn of_others(reply: Reply, said: Result<Vec<Record>, LookupError>) -> Self {
        let mut response = Response::error(ResponseCode::NoError);
        response.answers = reply.answers;
        match said {
            Ok(records) => response.answers.extend(records),
            Err(LookupError::Failed(error)) => match *error {
                NetError::Dns(DnsError::NoRecordsFound(NoRecords {
                    response_code, soa, ..
                })) => {
                    response.code = response_code;
                    response.soa = soa.map(|soa| soa.into_record_of_rdata());
                }
                error => return Response::failed(&error),
            },
            Err(error) => return Response::failed(&error),
        }
        response
    }

    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        debug!(error, "no answer");
        Response::error(ResponseCode::ServFail)
    }
}

/// What is no question, or one too new.
fn refusal(request: &Request) -> Option<ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    request.edns.as_ref().filter(|edns| edns.version() > 0).map(|_| ResponseCode::BADVERS)
}

/// Clients take the first of several: each gets another one.
fn turn(answers: &mut [Record], kind: RecordType, by: usize) {
    let first = answers.iter().position(|record| record.record_type() == kind);
    let Some(alike) = first.and_then(|first| answers.get_mut(first..)) else { return };
    let by = by.checked_rem(alike.len()).unwrap_or(0);
    alike.rotate_left(by);
}

fn edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload().clamp(SMALLEST_DATAGRAM, DATAGRAM));
    edns
}

fn failed(mut metadata: Metadata) -> ResponseInfo {
    metadata.response_code = ResponseCode::ServFail;
    hickory_proto::op::Header { metadata, counts: Default::default() }.into()
}
