//! Parses, reads the configuration, builds the runtime, runs, and maps the result to an exit code.

use tailwater::admin::Controls;
use tailwater::cli::{self, Chosen, Cli, Command, Output};
use tailwater::config::Loaded;
use tailwater::error::{Code, Error};
use tailwater::panics::{Panics, caught};
use tailwater::{log, process, shutdown};
use tokio::runtime::{Builder, Runtime};

fn main() {
    shutdown::exit(outcome(&Cli::parse().command()))
}

/// Carries the command out; the exit code.
fn outcome(command: &Command) -> u8 {
    if let Some(exit) = command.answer() {
        return exit;
    }
    let loaded = match command.configuration() {
        Ok(loaded) => loaded,
        Err(errors) => return cli::refuse(&errors),
    };
    let log = log::init(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match start(command, loaded, log) {
        Ok(exit) => exit,
        Err(error) => {
            let cause = error.source.as_ref().map(ToString::to_string);
            tracing::error!(code = error.code.name(), cause, "{error}");
            error.code.exit_code()
        }
    }
}

fn start(command: &Command, loaded: Loaded, log: log::Handle) -> Result<u8, Error> {
    let runtime = runtime()?;
    let carried_out = Box::pin(carry_out(command, loaded, log));
    let result = runtime.block_on(caught("the command", carried_out));
    // Left as it is, for the end of the process to end it: threads that wait for a server which does not
    // answer would hold that up, and tasks dropped one by one find others gone (the driver panics then).
    std::mem::forget(runtime);
    result.flatten()
}

/// The threads that everything runs on. Where one of them cannot be made, tokio panics.
fn runtime() -> Result<Runtime, Error> {
    let built = std::panic::catch_unwind(|| Builder::new_multi_thread().enable_all().build());
    let limits = "no threads or descriptors to run on; raise the limits of this process (ulimit -u, ulimit -n)";
    match built {
        Ok(Ok(runtime)) => Ok(runtime),
        Ok(Err(error)) => {
            let code = Code::of_system(&error, Code::Internal);
            Err(Error::new(code, limits).because(error))
        }
        Err(_) => Err(Error::new(Code::Exhausted, limits)),
    }
}

async fn carry_out(command: &Command, loaded: Loaded, log: log::Handle) -> Result<u8, Error> {
    match command {
        Command::Check(which) => {
            let report = process::check(&loaded.config, which.stream.as_deref()).await?;
            return Ok(cli::print_report(&report, Output::Text));
        }
        Command::Topics { which, output } => {
            let report = process::topics(&loaded.config, which.stream.as_deref()).await?;
            return Ok(cli::print_report(&report, *output));
        }
        Command::Listeners(args) => {
            return Box::pin(cli::listeners::run(args, &loaded.config)).await;
        }
        Command::Token(args) => {
            let chosen = Chosen::of(&loaded.config, &args.which)?;
            return Box::pin(cli::token::run(&args.command, chosen)).await;
        }
        Command::Verify(args) => {
            let chosen = Chosen::of(&loaded.config, &args.which)?;
            return Box::pin(cli::verify::run(args, chosen)).await;
        }
        Command::Worker(args) => {
            if let Some(exit) = args.asked(&loaded.config).await? {
                return Ok(exit);
            }
        }
        Command::Import(args) => return Box::pin(cli::import::run(args, &loaded.config)).await,
        Command::Export(args) => {
            let chosen = Chosen::of(&loaded.config, &args.which)?;
            return Box::pin(cli::export::run(args, chosen)).await;
        }
        Command::Compare(args) => return cli::compare::run(args, loaded.config.kafka).await,
        Command::Dlq(args) => {
            let stream = match args.is_of_jobs() {
                true => None,
                false => Some(loaded.config.stream(args.which.stream.as_deref())?.clone()),
            };
            return cli::dlq::answer(args.clone(), loaded.config, stream).await;
        }
        _ => {}
    }
    let stop = shutdown::on_signal().map_err(|error| {
        let code = Code::of_system(&error, Code::Internal);
        Error::new(code, "no signal handlers").because(error)
    })?;
    let panics = Panics::stop_on_any(stop.clone());
    if let Command::Tail(args) = command {
        let chosen = Chosen::of(&loaded.config, &args.which)?;
        let printed = Box::pin(cli::tail::run(args, chosen, stop)).await;
        return panics.outcome(printed);
    }
    if *command == Command::Live {
        let served = Box::pin(process::serve_live(loaded.config, Controls::new(stop, log))).await;
        return panics.outcome(served).map(|()| 0);
    }
    if let Command::Worker(_) = command {
        let worked = Box::pin(process::work(loaded.config, Controls::new(stop, log))).await;
        return panics.outcome(worked).map(|()| 0);
    }
    let config = match command {
        Command::Run(args) if args.dry_run => loaded.config.for_dry_run(),
        _ => loaded.config,
    };
    let ended = Box::pin(process::run(config, Controls::new(stop, log))).await;
    panics.outcome(ended).map(|()| 0)
}
