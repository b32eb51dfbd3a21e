use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One request as a proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number since the count began, from 1.
    pub number: usize,
    /// The proxy that it went through.
    pub proxy: String,
    /// What it asks for: `PUT /bucket/key`, `AmazonSQS.DeleteMessage`, `COMMIT`, `basic.ack`, `zINSTREAM`.
    pub what: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.proxy, self.what)
    }
}

/// What comes after a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection is cut: a request is not passed on, an answer is not given.
    Cut,
    /// As if nothing had been.
    GoOn,
}

type Hook = Box<dyn FnOnce() -> Then + Send>;

/// What happens to a request. *After its effect* is after the whole answer came, or where none is due (an
/// acknowledgement of AMQP) after the server has been quiet for a while.
pub enum Fault {
    /// The connection is cut, the server never sees it.
    CutBefore,
    /// The server answers, and the connection is cut instead of passing the answer on.
    CutAfter,
    /// It is passed on late.
    Delay(Duration),
    /// Half of the answer comes, then the connection is cut.
    Truncate,
    /// The server never sees it; the connection stays, and nothing comes.
    Swallow,
    /// The server never sees it; these bytes are the answer.
    Answer(Vec<u8>),
    /// The server answers, and these bytes are passed on instead.
    AnswerAfter(Vec<u8>),
    /// Something is done before the server sees it.
    Before(Hook),
    /// Something is done between the effect and the answer.
    After(Hook),
}

impl Fault {
    /// [`Fault::Before`].
    pub fn before(hook: impl FnOnce() -> Then + Send + 'static) -> Self {
        Self::Before(Box::new(hook))
    }

    /// [`Fault::After`].
    pub fn after(hook: impl FnOnce() -> Then + Send + 'static) -> Self {
        Self::After(Box::new(hook))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutBefore => f.write_str("CutBefore"),
            Self::CutAfter => f.write_str("CutAfter"),
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::Truncate => f.write_str("Truncate"),
            Self::Swallow => f.write_str("Swallow"),
            Self::Answer(_) => f.write_str("Answer"),
            Self::AnswerAfter(_) => f.write_str("AnswerAfter"),
            Self::Before(_) => f.write_str("Before"),
            Self::After(_) => f.write_str("After"),
        }
    }
}

/// The count of requests and the faults to come, shared by clones: proxies that were started with clones of one count
/// together.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    seen: Vec<Request>,
    planned: Vec<Planned>,
    ignored: Option<Matches>,
}

struct Matches(Box<dyn Fn(&Request) -> bool + Send>);

impl fmt::Debug for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matches")
    }
}

#[derive(Debug)]
struct Planned {
    matches: Matches,
    /// Matching requests up to and with the one that is meant.
    left: usize,
    fault: Fault,
}

impl Faults {
    /// No fault to come.
    pub fn new() -> Self {
        Self::default()
    }

    /// The n-th request from now, counted from 1 over all proxies.
    pub fn at(&self, nth: usize, fault: Fault) {
        self.on(nth, |_| true, fault);
    }

    /// The n-th request from now that matches, counted from 1 over all proxies.
    pub fn on(&self, nth: usize, matches: impl Fn(&Request) -> bool + Send + 'static, fault: Fault) {
        let matches = Matches(Box::new(matches));
        self.with(|plan| plan.planned.push(Planned { matches, left: nth.max(1), fault }));
    }

    /// Requests that match are passed on uncounted, and meet no fault: polls, say. The number of the request that is
    /// asked about is the one it would have.
    pub fn ignore(&self, matches: impl Fn(&Request) -> bool + Send + 'static) {
        self.with(|plan| plan.ignored = Some(Matches(Box::new(matches))));
    }

    /// Counts from 1 again and forgets the faults to come.
    pub fn restart(&self) {
        self.with(|plan| {
            plan.seen.clear();
            plan.planned.clear();
        });
    }

    /// How many requests were counted.
    pub fn count(&self) -> usize {
        self.with(|plan| plan.seen.len())
    }

    /// The counted requests in their order.
    pub fn seen(&self) -> Vec<Request> {
        self.with(|plan| plan.seen.clone())
    }

    /// How many faults no request has met yet.
    pub fn pending(&self) -> usize {
        self.with(|plan| plan.planned.len())
    }

    /// Counts a request, and says what is to happen to it.
    pub(super) fn meet(&self, proxy: &str, what: String) -> Option<Fault> {
        self.with(|plan| {
            let request = Request { number: plan.seen.len() + 1, proxy: proxy.to_owned(), what };
            if plan.ignored.as_ref().is_some_and(|ignored| (ignored.0)(&request)) {
                return None;
            }
            let mut due = None;
            for (index, planned) in plan.planned.iter_mut().enumerate() {
                if (planned.matches.0)(&request) {
                    planned.left = planned.left.saturating_sub(1);
                    if planned.left == 0 {
                        due = due.or(Some(index));
                    }
                }
            }
            plan.seen.push(request);
            due.map(|index| plan.planned.remove(index).fault)
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
