//! What the sandboxes of a task reach. Each has a way out of its own; what all of them hear is gathered here until the driver
//! writes it down with whatever it writes next, and the person's answers hold for those that stand and those to come.

use crate::keys::Secret;
use crate::settings::Surroundings;
use quire_core::charter::{Charter, Net};
use quire_core::event::{Connection, Event, Refused};
use quire_core::net::{HostRule, is_host};
use quire_core::task::Reach as Asked;
use quire_sandbox::Door;
use quire_sandbox::egress::{self, Allow, Brokered, Egress, EgressError, Limits, Policy, Refusal, Traffic};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Destinations that one event names.
const ROWS_MAX: usize = 64;
/// Refused ones that a call's outcome names.
const TOLD_MAX: usize = 8;
/// Destinations that may wait to become a question.
const ASKS_MAX: usize = 64;

/// What is gathered for one task.
#[derive(Default)]
pub struct Reach {
    heard: Arc<Heard>,
    ways: Mutex<Ways>,
}

#[derive(Default)]
struct Ways {
    answers: Arc<Vec<Asked>>,
    standing: Vec<Weak<Egress>>,
}

#[derive(Default)]
struct Heard {
    gathered: Mutex<Gathered>,
    asks: Notify,
}

#[derive(Default)]
struct Gathered {
    rows: Vec<Connection>,
    /// Not told to the model yet.
    refused: Vec<Connection>,
    /// Not asked of the person yet.
    asks: VecDeque<(String, u16)>,
}

/// The way out of one sandbox. It is open as long as this is kept.
pub struct Way {
    pub egress: Arc<Egress>,
    /// Variables of the person's secrets, with what stands in them inside.
    pub env: Vec<(String, String)>,
}

impl Way {
    pub fn door(&self) -> Door {
        Door { authority: self.egress.authority().map(str::to_owned) }
    }
}

impl Reach {
    /// Returns a way out for a sandbox under `charter`, or `None` where it has no network. `seed` tells the task's placeholders
    /// from those of others; a secret of which `value` knows nothing is not there inside.
    pub fn way(
        &self,
        charter: &Charter,
        seed: &str,
        value: impl Fn(&str) -> Option<Secret>,
    ) -> Result<Option<Way>, EgressError> {
        let allow = match &charter.sandbox.net {
            Net::Off => return Ok(None),
            Net::Only { registries, hosts } => Allow::Only { registries: *registries, hosts: hosts.clone() },
            Net::All => Allow::All,
        };
        let broker = |rule: &quire_core::charter::SecretRule| {
            let value = value(&rule.name)?;
            let (name, hosts) = (rule.name.clone(), rule.hosts.clone());
            Some(Brokered { name, placeholder: rule.placeholder(seed), value, hosts })
        };
        let brokered: Vec<Brokered> = charter.secrets.iter().filter_map(broker).collect();
        let env = brokered.iter().map(|one| (one.name.clone(), one.placeholder.clone())).collect();
        let policy = Policy {
            allow,
            named: charter.sandbox.named.clone(),
            brokered,
            limits: Limits::default(),
            upstream: egress::upstream(&Surroundings::capture().env),
        };
        let heard = self.heard.clone();
        let egress = Arc::new(Egress::new(policy, move |traffic| heard.hear(traffic))?);
        // Under the lock, so that an answer which comes now is heard by this one too.
        let mut ways = lock(&self.ways);
        ways.answers.iter().for_each(|asked| apply(&egress, asked));
        ways.standing.retain(|way| way.strong_count() > 0);
        ways.standing.push(Arc::downgrade(&egress));
        Ok(Some(Way { egress, env }))
    }

    /// Takes over what the person has answered so far.
    pub fn heed(&self, answers: &Arc<Vec<Asked>>) {
        let mut ways = lock(&self.ways);
        let news = answers.iter().enumerate().filter(|(n, asked)| ways.answers.get(*n) != Some(asked));
        for (_, asked) in news {
            ways.standing.iter().filter_map(Weak::upgrade).for_each(|egress| apply(&egress, asked));
        }
        ways.answers = answers.clone();
    }

    /// Returns the event of what was reached since the last one, if there is something to tell.
    pub fn event(&self) -> Option<Event> {
        let connections = std::mem::take(&mut lock(&self.heard.gathered).rows);
        (!connections.is_empty()).then_some(Event::Reached { connections })
    }

    /// Returns what was refused and was not told to the model yet.
    pub fn refused(&self) -> Vec<Connection> {
        std::mem::take(&mut lock(&self.heard.gathered).refused)
    }

    /// Returns the destinations that the person may be asked of.
    pub fn asks(&self) -> Vec<(String, u16)> {
        lock(&self.heard.gathered).asks.drain(..).collect()
    }

    /// Waits until there is something to ask. Safe to cancel.
    pub async fn asked(&self) {
        self.heard.asks.notified().await;
    }
}

fn apply(egress: &Egress, asked: &Asked) {
    match asked.allow {
        Some(true) => egress.allow(&asked.host, asked.port),
        Some(false) => egress.deny(&asked.host, asked.port),
        None => egress.forget(&asked.host, asked.port),
    }
}

impl Heard {
    fn hear(&self, traffic: Traffic) {
        let mut gathered = lock(&self.gathered);
        let row = match traffic {
            Traffic::Closed { host, port, up, down, .. } => {
                Connection { host, port, count: 1, up, down, refused: None }
            }
            Traffic::Refused { host, port, why } => {
                let refused = Some(reason(&why));
                Connection { host, port, count: 1, up: 0, down: 0, refused }
            }
        };
        // The name is hostile input; one that is none names nobody.
        let host = if is_host(&row.host) { row.host } else { String::new() };
        let row = Connection { host, ..row };
        if row.refused.is_some() {
            row.clone().count_in(&mut gathered.refused, TOLD_MAX);
        }
        if row.refused == Some(Refused::NotListed) && !row.host.is_empty() && row.port > 0 {
            let ask = (row.host.clone(), row.port);
            if gathered.asks.len() < ASKS_MAX && !gathered.asks.contains(&ask) {
                gathered.asks.push_back(ask);
                self.asks.notify_one();
            }
        }
        row.count_in(&mut gathered.rows, ROWS_MAX);
    }
}

fn reason(why: &Refusal) -> Refused {
    match why {
        Refusal::NotListed => Refused::NotListed,
        Refusal::Denied => Refused::Denied,
        Refusal::Port => Refused::Port,
        Refusal::Private(_) => Refused::Private,
        Refusal::OtherName(_) | Refusal::NoName => Refused::Name,
        Refusal::Malformed => Refused::Malformed,
        Refusal::Unserved => Refused::Unserved,
        Refusal::Limit(_) => Refused::Limit,
    }
}

/// Returns whether `host`, as settings name it, is a package registry.
pub fn is_registry(host: &str) -> bool {
    let Ok(meant) = HostRule::parse(host) else { return false };
    egress::REGISTRIES.iter().any(|(host, _)| HostRule::parse(host).is_ok_and(|rule| rule.covers(&meant)))
}

/// Returns the hosts that the package managers of this machine are set to, for a charter.
pub fn named(home: Option<&Path>, env: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    egress::named(home.unwrap_or(Path::new("/nonexistent")), env)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::charter;
    use quire_core::charter::Sandbox;

    fn refused(host: &str, port: u16, why: Refusal) -> Traffic {
        Traffic::Refused { host: host.into(), port, why }
    }

    fn closed(host: &str) -> Traffic {
        Traffic::Closed { host: host.into(), port: 443, address: None, up: 10, down: 100, millis: 1 }
    }

    #[tokio::test]
    async fn what_is_heard_is_told_once_and_bounded() {
        let reach = Reach::default();
        for n in 0..100 {
            reach.heard.hear(closed(&format!("{n}.org")));
            reach.heard.hear(closed(&format!("{n}.org")));
            reach.heard.hear(refused(&format!("{n}.net"), 443, Refusal::NotListed));
        }
        reach.heard.hear(refused("\x1b[2Jevil", 443, Refusal::NotListed));
        reach.heard.hear(refused("0.net", 22, Refusal::Denied));
        reach.asked().await;
        let Some(Event::Reached { connections }) = reach.event() else { panic!("nothing was told") };
        assert!(connections.len() <= ROWS_MAX + 8, "{} rows", connections.len());
        let first =
            Connection { host: "0.org".into(), port: 443, count: 2, up: 20, down: 200, refused: None };
        assert_eq!(connections[0], first);
        assert_eq!(connections.iter().map(|row| row.count).sum::<u64>(), 302);
        assert!(connections.iter().all(|row| row.host.is_empty() || is_host(&row.host)));
        let asks = reach.asks();
        assert_eq!((asks.len(), asks[0].clone()), (ASKS_MAX, ("0.net".to_owned(), 443)));
        assert_eq!(reach.refused().len(), TOLD_MAX + 2, "one row for all others of each kind");
        assert!(reach.event().is_none() && reach.asks().is_empty() && reach.refused().is_empty());
    }

    #[tokio::test]
    async fn what_stands_hears_of_each_answer_and_that_it_holds_no_more() {
        let reach = Reach::default();
        let only = Net::Only { registries: false, hosts: vec![] };
        let charter = Charter { sandbox: Sandbox { net: only, ..Sandbox::default() }, ..charter() };
        let way = reach.way(&charter, "seed", |_| None).unwrap().expect("a way out");
        let asked = |allow, once| Asked {
            host: "docs.example.org".into(),
            port: 443,
            allow,
            once,
            lapsed: allow.is_none(),
            presses: true,
            command: None,
        };
        for (answer, expected) in [
            (asked(Some(true), true), Ok(())),
            (asked(None, false), Err(Refusal::NotListed)),
            (asked(Some(false), false), Err(Refusal::Denied)),
            (asked(Some(true), false), Ok(())),
        ] {
            reach.heed(&Arc::new(vec![answer.clone()]));
            assert_eq!(way.egress.judge("docs.example.org", 443), expected, "{answer:?}");
            // One that is made now is told all at once.
            let next = reach.way(&charter, "seed", |_| None).unwrap().expect("a way out");
            assert_eq!(next.egress.judge("docs.example.org", 443), expected, "{answer:?}, made later");
        }
    }
}
