//! Tables of what layers say and what comes of it, through real files in a folder of the test's own.

use super::*;
use quire_core::charter::{Edits, Wire};

/// A home with a `config.toml`, and a folder `work` in it with a `quire.toml`.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(config: &str, project: &str) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let home = Home { dir };
        std::fs::create_dir_all(home.path("home/.config/quire")).unwrap();
        std::fs::create_dir_all(home.path("home/work")).unwrap();
        std::fs::write(home.path("home/.config/quire/config.toml"), config).unwrap();
        std::fs::write(home.path("home/work/quire.toml"), project).unwrap();
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn resolve(&self, env: &[(&str, &str)], options: Options) -> Result<Resolved, SettingsError> {
        let mut env: BTreeMap<String, String> =
            env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        env.insert("HOME".to_owned(), self.path("home").display().to_string());
        resolve(&options, &Surroundings { env, cwd: self.path("home/work") })
    }

    /// Returns the error's words, with paths from the home on, or "fine".
    fn told(&self, env: &[(&str, &str)], options: Options) -> String {
        let told = self.resolve(env, options).map_or_else(|e| e.to_string(), |_| "fine".to_owned());
        told.replace(&format!("{}/home/", self.dir.path().display()), "~/")
    }
}

fn set(arguments: &[&str]) -> Options {
    Options { set: arguments.iter().map(|a| (*a).to_owned()).collect(), ..Options::default() }
}

#[test]
fn a_wrong_file_is_told_with_file_line_and_nearest_key() {
    let config = "~/.config/quire/config.toml";
    let rows = [
        ("modle = 'a/b'", "line 1: there is no setting `modle`. Did you mean `model`?"),
        ("\n[budgte]\nsteps = 3", "line 3: there is no setting `budgte.steps`. Did you mean `budget.steps`?"),
        ("[budget]\nstep = 3", "line 2: there is no setting `budget.step`. Did you mean `budget.steps`?"),
        ("steps = 3", "line 1: there is no setting `steps`. Did you mean `budget.steps`?"),
        (
            "[sandbox]\n\nmemroy = '1GiB'",
            "line 3: there is no setting `sandbox.memroy`. Did you mean `sandbox.memory`?",
        ),
        (
            "[providers.lab]\nbase-url = 'http://a'",
            "line 2: there is no setting `providers.lab.base-url`. Did you mean `providers.lab.base_url`?",
        ),
        ("[zebra]", "line 1: there is no setting `zebra`."),
        ("[zebra]\n[budget]", "line 1: there is no setting `zebra`."),
        ("model = 3", "line 1: `model` takes a string: PROVIDER/MODEL, but this is the number 3."),
        ("model = 'gpt'", "line 1: `model`: `gpt` is not PROVIDER/MODEL, like ollama/qwen3-coder."),
        ("[model]\nname = 'a'", "line 2: `model` takes a string: PROVIDER/MODEL, but this is a table."),
        ("sandbox = 3", "line 1: `sandbox` takes a table, but this is the number 3."),
        ("checks = 'cargo test'", "line 1: `checks` takes a table, but this is the string \"cargo test\"."),
        (
            "[budget]\nsteps = 0",
            "line 2: `budget.steps` takes a whole number above 0, but this is the number 0.",
        ),
        (
            "[budget]\nsteps = 1.5",
            "line 2: `budget.steps` takes a whole number above 0, but this is the number 1.5.",
        ),
        (
            "[budget]\nsteps = 99999999999",
            "line 2: `budget.steps` takes a whole number above 0, but this is the number 99999999999.",
        ),
        (
            "[budget]\ntime = '60'",
            "line 2: `budget.time` takes a string: a time above zero, like \"60m\" or \"1h30m\", but this is the string \"60\".",
        ),
        (
            "[sandbox]\nmemory = '4G'",
            "line 2: `sandbox.memory` takes a string: a size of at least 64MiB, like \"4GiB\", but this is the string \"4G\".",
        ),
        (
            "[sandbox]\nhide = '*.pem'",
            "line 2: `sandbox.hide` takes a list of strings: globs of files, but this is the string \"*.pem\".",
        ),
        (
            "[sandbox]\nhide = ['[']",
            "line 2: `sandbox.hide`: `[` is not a glob: unclosed character class; missing ']'.",
        ),
        (
            "[sandbox]\nshow = ['data']",
            "line 2: `sandbox.show`: `data` is neither an absolute path nor one below `~`, or it holds `..`.",
        ),
        (
            "[sandbox]\nshow = ['~/../x']",
            "line 2: `sandbox.show`: `~/../x` is neither an absolute path nor one below `~`, or it holds `..`.",
        ),
        (
            "[sandbox]\nnet = 3",
            "line 2: `sandbox.net` takes off, registries, all, or a list of hosts, but this is the number 3.",
        ),
        (
            "[sandbox]\nnet = 'registrys'",
            "line 2: `sandbox.net`: `registrys` names no host: a host without a dot is named with its port, like `git:443`; \
             perhaps `registries`.",
        ),
        (
            "[sandbox]\nnet = ['registries', 'https://example.org/x']",
            "line 2: `sandbox.net`: `https://example.org/x` names no host: an address is named without its scheme; perhaps \
             `example.org`.",
        ),
        ("[sandbox]\nnet = ['off', 'a.org']", "line 2: `sandbox.net`: `off` stands alone, or not at all."),
        (
            "[secrets]\nTOKEN = { hosts = ['*.example.org'] }",
            "line 2: `secrets.TOKEN.hosts`: `*.example.org` is a pattern; a secret is sent to hosts that are named one by one.",
        ),
        ("[secrets.TOKEN]\nhosts = []", "line 2: `secrets.TOKEN.hosts`: there is no host in it."),
        (
            "[secrets.token]\nhosts = ['a.org']",
            "line 2: `secrets.token.hosts`: a secret is called as its variable is, like GITHUB_TOKEN.",
        ),
        (
            "[secrets.PATH]\nhosts = ['a.org']",
            "line 2: `secrets.PATH.hosts`: PATH is a variable that commands see as it is.",
        ),
        (
            "[secrets]\nTOKEN = 'ghp_x'",
            "line 2: `secrets.TOKEN` takes a table, but this is something that is not shown here.",
        ),
        (
            "[secrets.TOKEN]\nhost = ['a.org']",
            "line 2: there is no setting `secrets.TOKEN.host`. Did you mean `secrets.TOKEN.hosts`?",
        ),
        ("[checks]\ntest = ' '", "line 2: `checks.test`: the command is empty."),
        (
            "[checks]\nfound = 'no'",
            "line 2: `checks.found` takes true or false: whether quire looks for checks that the project has, but this is the string \"no\".",
        ),
        (
            "[providers.lab]\nwire = 'tape'",
            "line 2: `providers.lab.wire` takes a string: responses, chat or messages, but this is the string \"tape\".",
        ),
        (
            "[providers.lab]\nbase_url = 'ftp://a'",
            "line 2: `providers.lab.base_url` takes a string: an http or https address, but this is the string \"ftp://a\".",
        ),
        (
            "[providers.lab]\nbase_url = 'http://a/v1/messages'",
            "line 2: `providers.lab.base_url`: leave `/messages` out, the wire adds it.",
        ),
        (
            "[providers.lab]\nbase_url = 'http://me:pw@a'",
            "line 2: `providers.lab.base_url`: a name and password do not belong into an address, which is logged; use key_env.",
        ),
        (
            "[providers.lab]\nbase_url = 'http://a/v1?api-version=2&Api-Key=sk-123'",
            "line 2: `providers.lab.base_url`: a key does not belong into an address, which is logged; use key_env.",
        ),
        (
            "[providers.lab]\nkey_env = 'sk-123'",
            "line 2: `providers.lab.key_env`: it must be the name of a variable, never the key itself.",
        ),
        ("\nmodel = ", "line 2: string values must be quoted, expected literal string."),
        ("\nmodel = 'opnai/x'", "line 2: there is no provider `opnai`. Did you mean `openai`?"),
        (
            "[providers.lab]\nwire = 'chat'",
            "line 2: the provider `lab` has no address: set providers.lab.base_url.",
        ),
        (
            "[providers.'a.b']\nwire = 'chat'",
            "line 2: `providers.a.b.wire`: a provider's name has letters, digits, `-` and `_` only.",
        ),
        ("a = 1\na = 2", "line 2: duplicate key."),
    ];
    for (text, expected) in rows {
        assert_eq!(
            Home::new(text, "").told(&[], Options::default()),
            format!("{config}, {expected}"),
            "{text:?}"
        );
    }
}

#[test]
fn what_a_later_version_has_is_told_as_that() {
    let rows = ["mcp_servers.git.command = 'mcp-server-git'"];
    for text in rows {
        let told = Home::new(text, "").resolve(&[], Options::default());
        assert!(matches!(told, Err(SettingsError::Later { .. })), "{text}: {told:?}");
    }
}

#[test]
fn a_folder_may_only_narrow() {
    let config =
        "[budget]\nsteps = 50\n[sandbox]\nmemory = '2GiB'\nhide = ['*.key']\n[checks]\ntest = 'make test'";
    let rows = [
        ("budget.steps = 50", "fine"),
        ("budget.steps = 9", "fine"),
        ("budget.steps = 51", "`budget.steps` is higher than your own limit"),
        ("budget.time = '10m'", "fine"),
        ("budget.time = '2h'", "`budget.time` is higher than your own limit"),
        ("budget.task_usd = 2", "fine"),
        ("budget.task_usd = 2.01", "`budget.task_usd` is higher than your own limit"),
        ("budget.task_usd = 'none'", "`budget.task_usd` is higher than your own limit"),
        ("budget.day_usd = 10.5", "`budget.day_usd` is higher than your own limit"),
        ("budget.tokens = 10_000_001", "`budget.tokens` is higher than your own limit"),
        ("budget.tokens = 1000", "fine"),
        ("sandbox.memory = '1GiB'", "fine"),
        ("sandbox.memory = '3GiB'", "`sandbox.memory` is higher than your own limit"),
        ("sandbox.processes = 513", "`sandbox.processes` is higher than your own limit"),
        ("sandbox.disk = '1TiB'", "`sandbox.disk` is higher than your own limit"),
        ("sandbox.hide = ['*.pem']", "fine"),
        ("sandbox.show = ['~/.ssh']", "`sandbox.show` would show the agent more of your home"),
        ("sandbox.net = 'off'", "fine"),
        ("sandbox.net = []", "fine"),
        ("sandbox.net = 'registries'", "fine"),
        ("sandbox.net = ['pypi.org', '*.archive.ubuntu.com']", "fine"),
        ("sandbox.net = 'pypi.org:8443'", "`sandbox.net` would let the agent reach more of the network"),
        (
            "sandbox.net = ['registries', 'a.org']",
            "`sandbox.net` would let the agent reach more of the network",
        ),
        ("sandbox.net = 'all'", "`sandbox.net` would let the agent reach more of the network"),
        ("secrets.TOKEN.hosts = ['a.org']", "`secrets.TOKEN.hosts` decides who is sent your secrets"),
        ("checks.lint = 'make lint'", "fine"),
        ("checks.test = 'make test'", "fine"),
        ("checks.test = 'true'", "`checks.test` would replace a check of yours"),
        ("checks.found = false", "`checks.found` would leave out checks"),
        ("checks.found = true", "fine"),
        ("model = 'openai/x'", "`model` decides where its files are sent"),
        (
            "providers.openai.base_url = 'http://evil.example'",
            "`providers.openai.base_url` decides where its files and your keys are sent",
        ),
        (
            "providers.x.key_env = 'HOME'",
            "`providers.x.key_env` decides where its files and your keys are sent",
        ),
    ];
    for (project, expected) in rows {
        let home = Home::new(config, project);
        let never = ["secrets", "providers"].iter().any(|key| project.starts_with(key));
        if expected != "fine" && !never {
            // It counts as if it were not there, until the folder is trusted.
            let mut found = home.resolve(&[], Options::default()).unwrap().settings;
            let wants = found.untrusted.take().unwrap();
            let (key, why) = expected.trim_start_matches('`').split_once("` ").unwrap();
            assert_eq!(wants.settings, [format!("{key} ({why})")]);
            let without = Home::new(config, "").resolve(&[], Options::default()).unwrap().settings;
            assert_eq!(
                (found.limits, &found.sandbox, &found.checks),
                (without.limits, &without.sandbox, &without.checks)
            );
            assert_eq!(found.model, without.model, "{project}");
            wants.trust(&home.path("home/.local/share/quire")).unwrap();
            let found = home.resolve(&[], Options::default()).unwrap().settings;
            assert!(found.untrusted.is_none() && found.wider_than(&without).is_some(), "{project}");
            continue;
        }
        let told = home.told(&[], Options::default());
        let wider = "~/work/quire.toml, line 1: a folder's quire.toml may only narrow what you allow, and ";
        let expected = if expected == "fine" { "fine".to_owned() } else { format!("{wider}{expected}.") };
        assert_eq!(told, expected, "{project}");
    }
}

/// USD per million tokens, kept as whole pico-dollars a token.
#[test]
fn a_price_is_known_where_input_and_output_have_one() {
    let price = |text: &str| {
        let config = format!("model = 'lab/m'\n[providers.lab]\nbase_url = 'http://h/v1'\n{text}");
        let found = Home::new(&config, "").resolve(&[], Options::default()).unwrap();
        let price = found.settings.named_model().unwrap().price;
        price.map(|p| [p.input.0, p.cached.0, p.cache_write.0, p.output.0])
    };
    let rows = [
        ("", None),
        ("models.m.price.input = 0.2", None),
        ("models.m.price = { output = 0.8 }", None),
        ("models.other.price = { input = 1, output = 1 }", None),
        ("models.m.price = { input = 0.2, output = 0.8 }", Some([200_000, 200_000, 250_000, 800_000])),
        (
            "models.m.price = { input = 0.2, cached = 0.02, cache_write = 0.25, output = 8e-1 }",
            Some([200_000, 20_000, 250_000, 800_000]),
        ),
        ("models.m.price = { input = 0, output = 0 }", Some([0, 0, 0, 0])),
    ];
    for (text, expected) in rows {
        assert_eq!(price(text), expected, "{text}");
    }
}

#[test]
fn budgets_are_numbers_of_dollars_or_none() {
    let usd = |text: &str, options: Options| {
        let limits = Home::new(text, "").resolve(&[], options).unwrap().settings.limits;
        (limits.task_usd.map(|usd| usd.0), limits.day_usd.map(|usd| usd.0), limits.tokens)
    };
    const USD: u64 = 1_000_000_000_000;
    let none = Options::default;
    assert_eq!(usd("", none()), (Some(2 * USD), Some(10 * USD), Some(10_000_000)));
    let all = "[budget]\ntask_usd = 0.5\nday_usd = 3\ntokens = 5";
    assert_eq!(usd(all, none()), (Some(USD / 2), Some(3 * USD), Some(5)));
    let off = "[budget]\ntask_usd = 'none'\nday_usd = 'none'\ntokens = 'none'";
    assert_eq!(usd(off, none()), (None, None, None));
    let option = |text: &str| Options { budget: Some(text.to_owned()), ..none() };
    assert_eq!(usd("", option("1.25")).0, Some(USD / 4 * 5));
    assert_eq!(usd("", option("none")).0, None);
    let told = Home::new("", "").told(&[], option("-1"));
    let takes = "takes a number of USD above 0, or \"none\", but this is the number -1.";
    assert_eq!(told, format!("`--budget -1`: `budget.task_usd` {takes}"));
}

#[test]
fn later_layers_win_and_lists_of_hidden_files_add_up() {
    let home = Home::new(
        "model = 'ollama/one'\nbudget.steps = 50\nsandbox.hide = ['a']\nchecks.b = '1'\nchecks.a = '2'",
        "budget.steps = 40\nsandbox.hide = ['b', 'a']\nchecks.p = '3'",
    );
    let steps =
        |env: &[(&str, &str)], options: Options| home.resolve(env, options).unwrap().settings.limits.steps;
    let env = [("QUIRE_BUDGET__STEPS", "60")];
    assert_eq!(steps(&[], Options::default()), 40);
    assert_eq!(steps(&env, Options::default()), 60);
    assert_eq!(steps(&env, set(&["budget.steps=70"])), 70);
    assert_eq!(steps(&env, Options { steps: Some(80), ..set(&["budget.steps=70"]) }), 80);

    let options = Options {
        model: Some("openai/gpt-5.5".to_owned()),
        checks: vec!["cargo test".to_owned()],
        ..set(&["sandbox.hide=['c']", "sandbox.show=['~/data', '/opt/x']", "sandbox.memory=1GiB"])
    };
    let found = home.resolve(&[("QUIRE_MODEL", "ollama/two"), ("QUIRE_HOME", "/tmp/q")], options).unwrap();
    let checks: Vec<_> = found.settings.checks.iter().map(|c| format!("{}={}", c.name, c.command)).collect();
    assert_eq!(checks, ["b=1", "a=2", "p=3", "cargo test=cargo test"]);
    assert_eq!(found.settings.sandbox.hide, ["a", "b", "c"]);
    assert_eq!(found.settings.sandbox.show, [home.path("home/data"), PathBuf::from("/opt/x")]);
    assert_eq!(found.settings.sandbox.memory_bytes, 1 << 30);
    let model = found.settings.named_model().unwrap();
    assert_eq!(
        (model.provider.as_str(), model.name.as_str(), model.edits),
        ("openai", "gpt-5.5", Edits::ApplyPatch)
    );
    assert_eq!(found.charter(Some(model)).limits.steps, 40);
}

#[test]
fn values_of_arguments_and_variables() {
    let home = Home::new("", "");
    let rows: &[(&str, &str)] = &[
        ("model=openai/gpt-5.5", "fine"),
        ("model='openai/gpt-5.5'", "fine"),
        (" model = a/b=c ", "`-c  model = a/b=c `: there is no provider `a`."),
        ("model=opnai/x", "`-c model=opnai/x`: there is no provider `opnai`. Did you mean `openai`?"),
        ("sandbox={memory='1GiB', disk='1GiB'}", "fine"),
        ("providers.openai.models.\"gpt-5.5\".context_tokens=400000", "fine"),
        ("providers.openai.models.\"a=b\".images=true", "fine"),
        (
            "providers.lab.wire=chat",
            "`-c providers.lab.wire=chat`: the provider `lab` has no address: set providers.lab.base_url.",
        ),
        ("model", "`-c model`: write it as KEY=VALUE, for example sandbox.memory=2GiB."),
        ("=3", "`-c =3`: the key is not a dotted TOML key."),
        ("a b=3", "`-c a b=3`: the key is not a dotted TOML key."),
        (
            "checks.t=true",
            "`-c checks.t=true`: `checks.t` takes a string: a shell command, but this is true.",
        ),
        ("checks.t=make -k", "fine"),
        ("checks.t=a\nb = 3", "fine"),
        (
            "budget.steps=ten",
            "`-c budget.steps=ten`: `budget.steps` takes a whole number above 0, but this is the string \"ten\".",
        ),
        (
            "budget.step=3",
            "`-c budget.step=3`: there is no setting `budget.step`. Did you mean `budget.steps`?",
        ),
    ];
    for (argument, expected) in rows {
        assert_eq!(home.told(&[], set(&[argument])), *expected, "{argument}");
    }
    let rows = [
        ("QUIRE_MODEL", "ollama/x", "fine"),
        ("QUIRE_BUDGET__TIME", "10m", "fine"),
        ("QUIRE_SANDBOX__HIDE", "['a']", "fine"),
        (
            "QUIRE_BUDGET_STEPS",
            "3",
            "the variable QUIRE_BUDGET_STEPS: there is no setting `budget_steps`. Did you mean `budget.steps`?",
        ),
        ("QUIRE_SANDBOX", "{memory='1GiB'}", "fine"),
        ("NOT_QUIRE_MODEL", "3", "fine"),
        ("QUIRE_HOME", "3", "fine"),
        ("QUIRE_LOG", "debug", "fine"),
        ("QUIRE_MODEL", "", "fine"),
    ];
    for (name, text, expected) in rows {
        assert_eq!(home.told(&[(name, text)], Options::default()), expected, "{name}={text}");
    }
}

#[test]
fn a_provider_of_ones_own() {
    let config = "model = 'lab/org/qwen'\n[providers.lab]\nbase_url = 'http://127.0.0.1:8080/v1/'\nwire = 'responses'\n\
                  key_env = 'LAB_KEY'\n[providers.lab.models.\"org/qwen\"]\nimages = true\nedits = 'apply_patch'";
    let found = Home::new(config, "").resolve(&[], Options::default()).unwrap();
    let model = found.settings.named_model().unwrap();
    assert_eq!((model.name.as_str(), model.base_url.as_str()), ("org/qwen", "http://127.0.0.1:8080/v1"));
    assert_eq!((model.wire, model.edits, model.images), (Wire::Responses, Edits::ApplyPatch, true));
    assert_eq!(model.key_env.as_deref(), Some("LAB_KEY"));
}

#[test]
fn models_by_role_and_in_place_of_another() {
    let config = "model = 'ollama/a'\nreview_model = 'anthropic/b'\ncompact_model = 'openai/c'\n\
                  fallback_models = ['ollama/a', 'mistral/d/e']";
    let found = Home::new(config, "").resolve(&[], Options::default()).unwrap();
    let charter = found.charter(found.settings.named_model());
    let title = |model: &Option<Model>| model.as_ref().map(Model::title).unwrap_or_default();
    assert_eq!(
        [&charter.model, &charter.review_model, &charter.compact_model].map(title),
        ["ollama/a", "anthropic/b", "openai/c"]
    );
    let fallbacks: Vec<_> = charter.fallback_models.iter().map(Model::title).collect();
    assert_eq!(fallbacks, ["mistral/d/e"], "what does not answer is not asked again");
    let env = [("QUIRE_FALLBACK_MODELS", "vllm/x, deepseek/y")];
    let found = Home::new(config, "").resolve(&env, Options::default()).unwrap();
    assert_eq!(found.settings.fallback_models.len(), 2);

    let file = "~/.config/quire/config.toml, line 1";
    let rows = [
        ("review_model = 'gpt'", "`review_model`: `gpt` is not PROVIDER/MODEL, like ollama/qwen3-coder."),
        ("compact_model = 'opnai/x'", "there is no provider `opnai`. Did you mean `openai`?"),
        ("fallback_models = ['openai/x', 'gogle/y']", "there is no provider `gogle`. Did you mean `google`?"),
        (
            "fallback_models = 3",
            "`fallback_models` takes a list of strings, each PROVIDER/MODEL, but this is the number 3.",
        ),
    ];
    for (config, expected) in rows {
        let told = Home::new(config, "").told(&[], Options::default());
        assert_eq!(told, format!("{file}: {expected}"));
    }
    for key in ["review_model = 'openai/x'", "compact_model = 'openai/x'", "fallback_models = ['openai/x']"] {
        let found = Home::new("", key).resolve(&[], Options::default()).unwrap().settings;
        assert!(found.untrusted.unwrap().settings[0].contains("decides where its files are sent"), "{key}");
    }
}

#[test]
fn built_in_providers() {
    let found = Home::new("", "").resolve(&[], Options::default()).unwrap();
    let names: Vec<&str> = found.settings.providers.keys().map(String::as_str).collect();
    let all = [
        "anthropic",
        "deepseek",
        "google",
        "llamacpp",
        "lmstudio",
        "mistral",
        "ollama",
        "openai",
        "openrouter",
        "vllm",
    ];
    assert_eq!(names, all);
    for (name, provider) in &found.settings.providers {
        let url = provider.base_url.as_deref().unwrap();
        assert_eq!(provider.key_env.is_none(), url.starts_with("http://127.0.0.1:"), "{name}: {url}");
    }
}

#[test]
fn the_network_by_each_layer() {
    let net = |config: &str, project: &str, options: Options| {
        let found = Home::new(config, project).resolve(&[], options);
        found.map_or_else(|error| error.to_string(), |found| found.settings.sandbox.net.to_string())
    };
    let by_option = |net: &str| Options { net: Some(net.to_owned()), ..Options::default() };
    let hosts = "sandbox.net = ['registries', 'A.example.org', 'b.example.org:8443', 'a.example.org']";
    let rows = [
        ("", "", Options::default(), "registries"),
        (hosts, "", Options::default(), "registries,a.example.org,b.example.org:8443"),
        (hosts, "sandbox.net = ['b.example.org:8443']", Options::default(), "b.example.org:8443"),
        (hosts, "sandbox.net = 'off'", by_option("registries, c.org"), "registries,c.org"),
        (hosts, "sandbox.net = 'off'", set(&["sandbox.net=all"]), "all"),
        ("sandbox.net = 'all'", "sandbox.net = 'anything.org'", Options::default(), "anything.org"),
        ("sandbox.net = []", "", Options::default(), "nothing without asking"),
        (
            "",
            "",
            by_option("of"),
            "`--net of`: `sandbox.net`: `of` names no host: a host without a dot is named with its port, like `git:443`; perhaps `off`.",
        ),
    ];
    for (config, project, options, expected) in rows {
        assert_eq!(net(config, project, options.clone()), expected, "{config} {project} {options:?}");
    }
}

#[test]
fn keys_stay_outside() {
    let env =
        [("PATH", "/bin"), ("LC_ALL", "C.UTF-8"), ("OPENAI_API_KEY", "sk-secret"), ("SSH_AUTH_SOCK", "/x")];
    let found = Home::new("", "").resolve(&env, Options::default()).unwrap();
    let names: Vec<_> = found.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["HOME", "LC_ALL", "PATH"]);
}

#[test]
fn a_settings_file_that_is_none() {
    let home = Home::new("", "");
    let config = home.path("home/.config/quire/config.toml");
    std::fs::write(&config, b"model = '\xff'").unwrap();
    assert_eq!(
        home.told(&[], Options::default()),
        "~/.config/quire/config.toml cannot be read: it is not UTF-8."
    );
    std::fs::write(&config, "#".repeat(FILE_BYTES_MAX + 1)).unwrap();
    assert_eq!(
        home.told(&[], Options::default()),
        "~/.config/quire/config.toml cannot be read: it is longer than 1 MiB."
    );
    std::fs::remove_file(&config).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &config, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert_eq!(
        home.told(&[], Options::default()),
        "~/.config/quire/config.toml cannot be read: it is not a regular file."
    );
    std::fs::remove_file(&config).unwrap();
    assert_eq!(home.told(&[], Options::default()), "fine");
}

/// The catalogue's K01 and K05: what a folder brings takes effect by a hash of exactly what its person saw.
#[test]
fn k01_a_folder_is_trusted_by_the_hash_of_what_it_wants() {
    let home = Home::new("", "sandbox.net = 'all'\nbudget.steps = 9");
    let hooks = |text: &str| {
        std::fs::create_dir_all(home.path("home/work/.claude")).unwrap();
        std::fs::write(home.path("home/work/.claude/settings.json"), text).unwrap();
    };
    let data = home.path("home/.local/share/quire");
    let found = || home.resolve(&[], Options::default()).unwrap().settings;
    let told = || {
        let found = found();
        let wants =
            found.untrusted.as_ref().map_or("trusted".to_owned(), |w| format!("{} {}", w.brief(), w.changed));
        format!("{wants}; {} {}", found.sandbox.net, found.hooks.len())
    };
    hooks(r#"{"permissions": {"allow": ["Bash"]}}"#);
    assert_eq!(told(), "sandbox.net of quire.toml false; registries 0");
    found().untrusted.unwrap().trust(&data).unwrap();
    assert_eq!(told(), "trusted; all 0");
    // Settings of another agent without hooks are none of ours.
    hooks(r#"{"permissions": {}}"#);
    assert_eq!(told(), "trusted; all 0");
    let hook = |command: &str| {
        format!(r#"{{"hooks": {{"Stop": [{{"hooks": [{{"type": "command", "command": "{command}"}}]}}]}}}}"#)
    };
    hooks(&hook("true"));
    assert_eq!(told(), "sandbox.net of quire.toml, 1 hook of .claude/settings.json true; registries 0");
    found().untrusted.unwrap().trust(&data).unwrap();
    assert_eq!(told(), "trusted; all 1");
    hooks(&hook("evil"));
    assert_eq!(told(), "sandbox.net of quire.toml, 1 hook of .claude/settings.json true; registries 0");
    assert_eq!(found().limits.steps, 9, "what narrows counts all the same");
    hooks(&hook("true"));
    assert_eq!(told(), "trusted; all 1", "as they saw it");
    assert!(crate::trust::distrust(&data, &home.path("home/work")).unwrap());
    assert_eq!(told(), "sandbox.net of quire.toml, 1 hook of .claude/settings.json false; registries 0");
    assert!(!crate::trust::distrust(&data, &home.path("home/work")).unwrap());
}

#[test]
fn the_person_s_own_hooks_need_no_trust() {
    let home = Home::new("", "");
    let put = |text: &str| std::fs::write(home.path("home/.config/quire/hooks.json"), text).unwrap();
    put(r#"{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "c"}]}], "Other": []}}"#);
    let found = home.resolve(&[], Options::default()).unwrap().settings;
    assert_eq!((found.hooks.len(), found.untrusted), (1, None));
    assert!(found.idle[0].ends_with("hooks.json: there is no hook for Other"), "{:?}", found.idle);
    put("{");
    let found = home.resolve(&[], Options::default()).unwrap().settings;
    assert!(found.hooks.is_empty() && found.idle[0].contains("EOF while parsing"), "{:?}", found.idle);
}
