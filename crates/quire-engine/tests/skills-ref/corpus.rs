//! Skills and what is none, for the tests of the verdicts and for the comparison with the reference validator.

/// What a SKILL.md says in a directory `a`, and why it is refused; empty where it is a skill. What ends in a colon goes on in the
/// words of the YAML parser.
const CORPUS: &[(&str, &str)] = &[
    ("---\nname: a\ndescription: b\n---\nbody", ""),
    ("---\nname: a\ndescription: b\n---", ""),
    ("---\r\nname: a\r\ndescription: b\r\n---\r\nbody", ""),
    (
        "---\nname: a\ndescription: b # of it\nlicense: MIT\ncompatibility: any\nallowed-tools: Bash(git:*) Read\n---",
        "",
    ),
    ("---\n# about\nname: \"a\"\ndescription: 'it''s'\nmetadata:\n  k: v\n  n: 1\n---", ""),
    ("---\nname: a\ndescription: >\n  x\n  y\nallowed-tools:\n  - Read\n  - Bash\n---", ""),
    ("---\nname: a\ndescription: |-\n  x: y\n  # z\nlicense:\n- MIT\n---", ""),
    ("---\nname: a\ndescription: on two\n  lines\nmetadata: none\n---", ""),
    ("---\nname: a\ndescription: ~\nmetadata:\n  k:\n    deep: true\n---", ""),
    ("---\n? name\n: a\ndescription: b\n---", ""),
    ("---\nname: a\ndescription: b --- c\n---", ""),
    ("---\nname: 12\ndescription: b\n---", "its name `12` is not that of its directory"),
    ("name: a\ndescription: b", "it does not begin with ---"),
    ("\n---\nname: a\ndescription: b\n---", "it does not begin with ---"),
    ("---\nname: a\ndescription: b\n", "its head does not end with ---"),
    ("---\n---\nbody", "it has no name"),
    ("---\n- name\n- description\n---", "its head has something other than fields in line 2"),
    ("---\njust text\n---", "its head has something other than fields in line 2"),
    ("---\ndescription: b\n---", "it has no name"),
    ("---\nname: a\n---", "it has no description"),
    ("---\nname: a\ndescription:\n---", "its description is empty or no text"),
    ("---\nname: a\ndescription: '  '\n---", "its description is empty or no text"),
    ("---\nname: a\ndescription:\n  - b\n---", "its description is empty or no text"),
    ("---\nname:\n  b: c\ndescription: b\n---", "its name is empty or no text"),
    ("---\nname: A\ndescription: b\n---", "its name `A` holds more than small letters, digits and hyphens"),
    (
        "---\nname: a_b\ndescription: b\n---",
        "its name `a_b` holds more than small letters, digits and hyphens",
    ),
    ("---\nname: -a\ndescription: b\n---", "its name `-a` begins or ends with a hyphen, or has two in a row"),
    (
        "---\nname: a--b\ndescription: b\n---",
        "its name `a--b` begins or ends with a hyphen, or has two in a row",
    ),
    ("---\nname: b\ndescription: b\n---", "its name `b` is not that of its directory"),
    (
        "---\nname: a\ndescription: b\nversion: 1\n---",
        "there is no field `version`; there are name, description, license, allowed-tools, metadata, compatibility",
    ),
    ("---\nname: a\ndescription: b\ncompatibility:\n  - b\n---", "its compatibility is no text"),
    (
        "---\nname: a\nname: a\ndescription: b\n---",
        "its head has `name` twice, or as a key that merges in line 3",
    ),
    (
        "---\nname: a\ndescription: b\nmetadata:\n  k: 1\n  k: 2\n---",
        "its head has `k` twice, or as a key that merges in line 6",
    ),
    ("---\nname: a\ndescription: [b]\n---", "its head has flow style in line 3"),
    ("---\nname: a\ndescription: b\nmetadata: {k: v}\n---", "its head has flow style in line 4"),
    ("---\nname: &x a\ndescription: b\n---", "its head has an anchor or a tag in line 2"),
    ("---\nname: !!str a\ndescription: b\n---", "its head has an anchor or a tag in line 2"),
    ("---\nname: a\ndescription: *x\n---", "its head is no YAML: "),
    ("---\nname: a\ndescription: b: c\n---", "its head is no YAML: "),
    ("---\nname: a\n\tdescription: b\n---", "its head is no YAML: "),
    ("---\nname: a\ndescription: \"b\n---", "its head is no YAML: "),
    ("---\nname: a\ndescription: @b\n---", "its head is no YAML: "),
];

/// Fields that are as long as they may be, and longer.
fn long() -> Vec<(String, &'static str, String)> {
    let skill = |name: &str, description: &str, compatibility: &str| {
        format!("---\nname: {name}\ndescription: {description}\ncompatibility: {compatibility}\n---")
    };
    let (name, a) = ("n".repeat(64), "a".to_owned());
    vec![
        (skill(&name, &"\u{e4}".repeat(1024), &"c".repeat(500)), "", name.clone()),
        (skill("a", &"d".repeat(1025), "c"), "its description is longer than 1024 characters", a.clone()),
        (skill("a", "d", &"c".repeat(501)), "its compatibility is longer than 500 characters", a),
        (skill(&"n".repeat(65), "d", "c"), "its name is longer than 64 characters", "n".repeat(65)),
        (skill("\u{fb01}n", "d", "c"), "", "fin".into()),
        (skill("stra\u{df}e-7", "d", "c"), "", "stra\u{df}e-7".into()),
    ]
}

/// Returns all of them with the names of their directories.
pub fn corpus() -> Vec<(String, &'static str, String)> {
    let short = CORPUS.iter().map(|(text, why)| ((*text).to_owned(), *why, "a".to_owned()));
    short.chain(long()).collect()
}
