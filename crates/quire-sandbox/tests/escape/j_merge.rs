//! J: what an agent leaves for the moment when its files are read, shown and accepted. No sandbox is needed for that, so
//! nearly all of it is tried where it is done, in the engine.

use crate::catalogue::{Case, case, elsewhere, not_here};
use crate::ground::Ground;

pub const CASES: &[Case] = &[
    elsewhere(
        "J01",
        "link_put_in_a_files_place",
        "not followed",
        "crates/quire-engine/src/snapshot/tests/hostile.rs::j01_a_link_put_in_a_files_place_is_not_followed",
    ),
    elsewhere(
        "J02",
        "link_below_a_newer_directory",
        "leads nowhere",
        "crates/quire-engine/src/snapshot/tests/hostile.rs::j02_a_link_below_a_newer_directory_leads_nowhere",
    ),
    elsewhere(
        "J03",
        "link_that_leads_out",
        "kept as a link, told in the review, never followed",
        "crates/quire-engine/src/accept/tests/hostile.rs::j03_links_are_kept_and_never_followed",
    ),
    elsewhere(
        "J05",
        "names_that_leave_the_folder",
        "refused",
        "crates/quire-engine/src/snapshot/tests/hostile.rs::j05_names_that_leave_the_folder_are_no_names",
    ),
    elsewhere(
        "J07",
        "modes_and_attributes",
        "stripped but for rwx, without write for others",
        "crates/quire-engine/src/accept/tests/hostile.rs::j07_modes_and_attributes_are_stripped",
    ),
    elsewhere(
        "J08",
        "owners",
        "those of the folder",
        "crates/quire-engine/src/accept/tests/hostile.rs::j08_what_is_new_is_the_folders_owners",
    ),
    elsewhere(
        "J09",
        "files_of_git",
        "never taken",
        "crates/quire/tests/journeys/folders.rs::j09_git_is_not_needed_and_its_files_are_not_taken",
    ),
    elsewhere(
        "J10",
        "files_that_run_code_on_the_machine",
        "told apart in the review, and taken only with a yes of their own",
        "crates/quire/tests/journeys/part.rs::j10_files_that_run_things_need_a_yes_of_their_own",
    ),
    elsewhere(
        "J11",
        "git_run_over_the_agents_files",
        "quire runs git in one place, told to start nothing",
        "crates/quire/tests/house.rs::j11_git_is_run_in_one_place_that_starts_nothing",
    ),
    not_here(
        "J14",
        "names_of_other_systems",
        "warned of",
        "quire is for Linux, where such names are ordinary ones",
    ),
    elsewhere(
        "J15",
        "huge_files",
        "taken whole, shown without their lines",
        "crates/quire/tests/journeys/folders.rs::j15_large_files_and_long_names_travel",
    ),
    elsewhere(
        "J16",
        "changed_by_both",
        "told, and nothing is written",
        "crates/quire-engine/src/accept/tests.rs::j16_what_changed_in_the_folder_meanwhile_is_told_and_nothing_is_written",
    ),
    elsewhere(
        "J17",
        "killed_in_the_midst",
        "exactly before or exactly after",
        "crates/quire-engine/src/accept/tests.rs::j17_killed_at_any_moment_it_ends_exactly_before_or_exactly_after",
    ),
    elsewhere(
        "J19",
        "saved_in_the_midst",
        "neither side is lost",
        "crates/quire-engine/src/accept/tests.rs::j19_a_save_in_the_midst_of_it_is_never_lost",
    ),
    elsewhere(
        "J21",
        "everything_deleted",
        "told path by path; the repository stays",
        "crates/quire-engine/src/snapshot/tests/hostile.rs::j21_deleting_everything_is_told_path_by_path",
    ),
    elsewhere(
        "J22",
        "directory_made_anew",
        "deletions and additions",
        "crates/quire-engine/src/snapshot/tests/hostile.rs::j22_a_directory_made_anew_is_deletions_and_additions",
    ),
    elsewhere(
        "J23",
        "planted_build_outputs",
        "not taken unless named",
        "crates/quire/tests/journeys/folders.rs::j23_what_is_ignored_is_taken_when_it_is_named",
    ),
    elsewhere(
        "J24",
        "rendering",
        "quire's own, and plain",
        "crates/quire/src/terminal.rs::j24_nothing_that_moves_a_cursor_is_shown",
    ),
    elsewhere(
        "J26",
        "two_accepts_at_once",
        "one writes",
        "crates/quire/tests/journeys/folders.rs::j26_of_two_accepts_at_once_one_writes",
    ),
    case("J27", "immutable_files", "refused, so that clearing up always can", immutable_files),
    elsewhere(
        "J28",
        "times_of_the_future",
        "set to now",
        "crates/quire-engine/src/accept/tests/hostile.rs::j28_times_of_the_future_are_set_to_now",
    ),
];

fn immutable_files(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("touch f");
    for flag in ["+i", "+a"] {
        inside.no(&format!("chattr {flag} f"));
    }
    inside.yes("echo more >> f && rm f");
}
