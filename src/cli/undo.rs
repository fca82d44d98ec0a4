//! `panelsync batch undo`.

use clap::Args;
use serde_json::Map;

use super::apply::{self, Waiting};
use super::ask::Sure;
use super::client::Client;
use super::{Exit, Failure, Output, find};

/// What `batch undo` takes.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Its id, the beginning of it, or latest
    id: String,
    /// Only on those of the batch's panels that this picks by their labels
    #[arg(short = 'l', long, value_name = "SEL")]
    selector: Option<String>,
    /// Change nothing; show per panel what would be put back
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sure: Sure,
    #[command(flatten)]
    waiting: Waiting,
}

/// Takes a batch back, or shows what that would do. Where it deletes what the batch had created, it asks first.
pub fn undo(args: &UndoArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let id = find::batch(client, &args.id)?;
    let path = format!("/batches/{id}:undo");
    let mut body = Map::new();
    if let Some(selector) = &args.selector {
        body.insert("selector".into(), selector.as_str().into());
    }
    if args.dry_run || !args.sure.yes {
        let plan = apply::dry_run_at(&path, body.clone(), client)?;
        if args.dry_run {
            return apply::show_plan(&plan, output);
        }
        if plan.items.deleted > 0 {
            args.sure.of(&apply::what_goes(&plan, "item"))?;
        }
    }
    apply::submit_at(&path, body, &args.waiting, client, output)
}
