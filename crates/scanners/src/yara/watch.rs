//! The set of rules in force, and the thread that puts a newer one in its place.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use lazaret_core::error::chain;

use super::{
    YaraError, YaraNews, YaraObserver,
    folder::{self, Limits, RuleFile},
    rules::RuleSet,
};

/// The compiler and the code generator recurse with the rules.
const STACK_BYTES: usize = 16 << 20;

/// The rules that scans use, and what keeps newer ones out.
#[derive(Debug)]
pub(super) struct InForce {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    set: Arc<RuleSet>,
    broken: Option<String>,
}

impl InForce {
    pub(super) fn set(&self) -> Arc<RuleSet> {
        Arc::clone(&self.state().set)
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies in the folder, as one look found it.
type Look = Result<Vec<RuleFile>, String>;

/// Where rules come from, and who is told.
pub(super) struct Source {
    pub(super) folder: PathBuf,
    pub(super) limits: Limits,
    pub(super) observer: YaraObserver,
}

/// Looks after a folder until its [`Leash`] is dropped.
struct Watch {
    source: Source,
    in_force: Arc<InForce>,
    /// What was last loaded, or could not be.
    settled: Look,
    /// What the last look found, where that is not settled.
    pending: Option<Look>,
}

/// While this lives, the folder is looked after.
#[derive(Debug)]
pub(super) struct Leash {
    _held: Sender<()>,
    thread: JoinHandle<()>,
}

impl Leash {
    /// Whether nobody looks any more, which should never be.
    pub(super) fn is_slack(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Loads the rules, which must all be good, and looks for changes every `interval` from then on. All loads are on one
/// thread: what compiles at the start does not run out of stack later.
pub(super) fn start(source: Source, interval: Duration) -> Result<(Arc<InForce>, Leash), YaraError> {
    let (held, leash) = channel();
    let (started, first) = channel();
    let watch = move || match begin(source) {
        Ok(mut watch) => {
            // Nobody who listens means that nobody wants the watch, and then the leash is gone, too.
            if started.send(Ok(Arc::clone(&watch.in_force))).is_ok() {
                watch.run(&leash, interval);
            }
        }
        Err(error) => drop(started.send(Err(error))),
    };
    let thread = thread::Builder::new().name("yara-rules".to_owned()).stack_size(STACK_BYTES).spawn(watch);
    let engine = |detail| YaraError::Engine { detail };
    let thread = thread.map_err(|error| engine(format!("there is no thread for the rules: {error}")))?;
    let in_force = first.recv().map_err(|_| engine("the thread of the rules panicked".to_owned()))??;
    Ok((in_force, Leash { _held: held, thread }))
}

fn begin(source: Source) -> Result<Watch, YaraError> {
    let files = folder::list(&source.folder, source.limits)?;
    let set = Arc::new(load(&files)?);
    let in_force = Arc::new(InForce { state: Mutex::new(State { set: Arc::clone(&set), broken: None }) });
    source.tell_of(&set);
    Ok(Watch { source, in_force, settled: Ok(files), pending: None })
}

impl Watch {
    fn run(&mut self, leash: &Receiver<()>, interval: Duration) {
        while leash.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    /// A change counts when two looks in a row find the same: what is being written or copied is let be until then.
    fn look(&mut self) {
        let found = self.listed();
        if found == self.settled {
            self.pending = None;
        } else if self.pending.as_ref() == Some(&found) {
            self.settle(found);
        } else {
            self.pending = Some(found);
        }
    }

    fn listed(&self) -> Look {
        folder::list(&self.source.folder, self.source.limits).map_err(|error| chain(&error))
    }

    fn settle(&mut self, found: Look) {
        let loaded = found.as_ref().map_err(Clone::clone).and_then(|files| load(files).map_err(|error| chain(&error)));
        // Changed while it was read, it may be half of the old and half of the new.
        let now = self.listed();
        if now != found {
            self.pending = Some(now);
            return;
        }
        match loaded {
            Ok(set) => self.replace(set),
            Err(why) => self.keep(why),
        }
        self.settled = found;
        self.pending = None;
    }

    fn replace(&self, set: RuleSet) {
        let set = Arc::new(set);
        *self.in_force.state() = State { set: Arc::clone(&set), broken: None };
        self.source.tell_of(&set);
    }

    /// The rules in force stay.
    fn keep(&self, why: String) {
        self.in_force.state().broken = Some(why.clone());
        (self.source.observer)(&YaraNews::Broken { why });
    }
}

impl Source {
    fn tell_of(&self, set: &RuleSet) {
        let (version, warnings) = (set.version.clone(), set.warnings.clone());
        (self.observer)(&YaraNews::InForce { version, rules: set.count, warnings });
    }
}

/// A panic of the compiler must not end the watch, after which no change would be seen again.
fn load(files: &[RuleFile]) -> Result<RuleSet, YaraError> {
    catch_unwind(AssertUnwindSafe(|| RuleSet::compile(&folder::read(files)?))).unwrap_or_else(|panic| {
        Err(YaraError::Engine { detail: format!("it panicked: {}", panic_text(panic.as_ref())) })
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}
