//! What an agent committed, in several repositories, and a process that died between one and the next.

use super::*;
use crate::git::bring::{Known, reference};
use crate::git::inside::View;

/// The agent's commits: on a branch in the repository `kit`, and on a branch and what HEAD is in the folder's own.
async fn ready() -> (Case, Quire) {
    let who = "git config user.name Ada; git config user.email ada@example.org";
    let persons = format!("git init -qb main kit; cd kit; {who}; git commit -q --allow-empty -m kit");
    let commit = "git commit -q --allow-empty -m";
    let aside = format!("git checkout -qb topic; {commit} topic; git checkout -q main");
    Case::with(&persons, Some(&format!("{aside}; {commit} head; cd kit; {aside}"))).await
}

/// Returns every reference to what was brought, by the repository it is in.
fn brought(case: &Case) -> String {
    let refs = "for-each-ref --format='%(refname) %(subject)' refs/quire";
    case.git(&format!("git {refs}; git -C kit {refs}"))
}

const ALL: &str = "refs/quire/1 head\nrefs/quire/branches/1/topic topic\nrefs/quire/branches/1/topic topic";

/// Fetches as [`Quire::bring`] does, and tells the log of the first so many.
fn fetch(quire: &Quire, id: u64, told: usize) {
    let task = quire.task(id).unwrap();
    let (base, layers) = (quire.frozen(&task).unwrap().remove(0), [quire.place(id).layer(0)]);
    let view = View::of(&base, &layers, 0).unwrap();
    let mut left = told;
    for inside in view.repositories().unwrap() {
        let dir = inside.dir.as_ref().unwrap();
        let (within, repo) =
            Repo::beside(&task.charter.folders[0], &task.charter.folders[0], dir).unwrap().unwrap();
        let tips = repo
            .bring(
                &inside,
                id,
                &Known { is_done: &|_| false, is_ours: &|_, _| false },
                &quire.home().join("scratch"),
            )
            .unwrap();
        for tip in tips {
            let event = Event::Committed {
                accept: Some(0),
                folder: 0,
                commit: None,
                branch: None,
                brought: Some(tip.brought.unwrap().commit),
                name: tip.name,
                within: within.clone(),
                with: vec![],
                staged: vec![],
            };
            if left > 0 {
                quire.record(id, vec![event]).unwrap();
                left -= 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_committed_comes_over_exactly_once_whenever_quire_dies() {
    // How many were fetched and told of when it died; `None`: nothing was fetched.
    for told in [None, Some(0), Some(1), Some(2), Some(3)] {
        let (case, quire) = ready().await;
        tokio::task::block_in_place(|| {
            die(&quire, case.id, "written");
            // Only what comes over is owed.
            let debt = Debt { built: Snapshot { entries: vec![] }, heads: vec![] };
            fs::write(quire.debt(case.id, 0), serde_json::to_vec(&debt).unwrap()).unwrap();
            if let Some(told) = told {
                fetch(&quire, case.id, told);
            }
            drop(quire);
            let quire = open(case.temp.path());
            let rows: Vec<_> = quire.paid().iter().flat_map(|p| &p.rows).collect();
            assert_eq!(rows.len(), 3 - told.unwrap_or(0), "{told:?}: {rows:?}");
            assert!(rows.iter().all(|row| matches!(row, GitRow::Brought { commits: 1, .. })), "{rows:?}");
            assert_eq!((brought(&case).as_str(), owed(&quire)), (ALL, 0), "{told:?}");
            assert_eq!(quire.task(case.id).unwrap().accepts[0].git.len(), 3, "{told:?}: each once");
            assert!(open(case.temp.path()).paid().is_empty(), "{told:?}: nothing is told again");
            quire.undo(case.id, &Undo::default()).unwrap();
            assert_eq!((brought(&case).as_str(), owed(&quire)), ("", 0), "{told:?}");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_over_is_taken_back_whenever_quire_dies() {
    let taken = format!("git update-ref -d {}", reference(1, Some("topic")));
    for came in ["true", taken.as_str(), &format!("git -C kit {}", &taken[4..])] {
        let (case, quire) = ready().await;
        tokio::task::block_in_place(|| {
            let rows = quire.accept(case.id, &Choice::default()).unwrap().git;
            assert_eq!((rows.len(), brought(&case).as_str()), (3, ALL), "{rows:?}");
            die_undoing(&quire, case.id, true);
            case.git(came);
            drop(quire);
            let quire = open(case.temp.path());
            assert_eq!((brought(&case).as_str(), owed(&quire)), ("", 0), "{came}: {:?}", quire.paid());
            // And again, as a new accept.
            let rows = quire.accept(case.id, &Choice::default()).unwrap().git;
            assert_eq!((rows.len(), brought(&case).as_str()), (3, ALL), "{rows:?}");
        });
    }
}

/// A repository that is gone since keeps nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_gone_keeps_no_other_from_being_taken_back() {
    let (case, quire) = ready().await;
    tokio::task::block_in_place(|| {
        quire.accept(case.id, &Choice::default()).unwrap();
        case.git("mv kit ../kit");
        let rows = quire.undo(case.id, &Undo::default()).unwrap().git;
        assert!(matches!(&rows[..], [GitRow::Failed(why)] if why.contains("kit")), "{rows:?}");
        assert_eq!((case.git("git for-each-ref refs/quire").as_str(), owed(&quire)), ("", 0));
    });
}

/// As where the one that would pay is at work, or another process holds the debt for the moment.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_takes_back_what_came_over_before_the_accept_died() {
    for told in 0..4 {
        let (case, quire) = ready().await;
        tokio::task::block_in_place(|| {
            die(&quire, case.id, "committed");
            let parent = case.git("git rev-parse HEAD^");
            fetch(&quire, case.id, told);
            assert_eq!(brought(&case), ALL);
            // What is not what was brought any more is the person's.
            case.git("git update-ref refs/quire/branches/1/topic HEAD^");
            quire.undo(case.id, &Undo::default()).unwrap();
            assert_eq!(brought(&case), "refs/quire/branches/1/topic first", "{told}");
            assert_eq!((case.head(), owed(&quire)), (parent, 0), "{told}");
        });
    }
}

/// What is not there any more is told, and what stands in the way only for now comes with the next accept.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_over_is_told_with_how_it_does() {
    let (case, quire) = ready().await;
    tokio::task::block_in_place(|| {
        case.git("mv kit ../kit; mkdir .git/refs/quire; touch .git/refs/quire/1.lock");
        case.git("git update-ref refs/quire/branches/1/topic main");
        let rows = quire.accept(case.id, &Choice::default()).unwrap().git;
        let one = |row: &GitRow| match row {
            GitRow::NotBrought { branch, within, in_the_way, again, .. } => {
                (branch.clone(), within.as_ref().map(RelPath::to_string), in_the_way.clone(), *again)
            }
            row => panic!("{row:?}"),
        };
        let (kit, topic, taken) = ("kit".to_owned(), "topic".to_owned(), reference(1, Some("topic")));
        let expected = [
            (None, Some(kit), vec![], None),
            (None, None, vec![], Some(1)),
            (Some(topic), None, vec![taken], Some(1)),
        ];
        assert_eq!(rows.iter().map(one).collect::<Vec<_>>(), expected, "{rows:?}");
        assert!(rows[0].text().contains("not in its place any more"), "{rows:?}");

        case.git("rm .git/refs/quire/1.lock");
        let GitRow::NotBrought { in_the_way, .. } = &rows[2] else { panic!("{rows:?}") };
        case.git(&format!("git update-ref -d {}", in_the_way[0]));
        let rows = quire.accept(case.id, &Choice::default()).unwrap().git;
        assert!(
            matches!(rows[..], [GitRow::NotBrought { .. }, GitRow::Brought { .. }, GitRow::Brought { .. }]),
            "{rows:?}"
        );
    });
}
