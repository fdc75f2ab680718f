#![allow(dead_code)]
#[path = "../tests/wall/stage.rs"]
mod stage;
fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        std::process::exit(code)
    }
    let live = stage::Stage::set().start();
    let (code, said) = live.run(args[1].to_str().unwrap());
    println!("{said}\n[{code}]");
}
