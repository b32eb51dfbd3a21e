//! `lazaret queue declare`: make what the queue needs.

use anyhow::{Context as _, Result};
use lazaret_queue::amqp::{self, Declared};

use crate::{cli::Output, output, settings::Settings, wiring::QueueSettings};

/// Makes what is missing; what is there stays as it is.
pub(super) async fn declare(settings: &Settings, form: Output) -> Result<()> {
    let nothing = match QueueSettings::of(settings) {
        QueueSettings::Amqp(queue) => {
            let declared = amqp::declare(&queue).await.context("not everything was declared")?;
            return print(&declared, form);
        }
        QueueSettings::Sqs(_) => {
            "nothing to declare: a queue of SQS and its dead-letter queue are made where SQS is managed; `lazaret doctor` \
             says whether they fit these settings"
        }
        QueueSettings::Embedded => "nothing to declare: queue.kind = \"embedded\" lives inside `lazaret dev`",
    };
    match form {
        Output::Json => print(&Declared::default(), form),
        Output::Table => output::line(nothing),
    }
}

fn print(declared: &Declared, form: Output) -> Result<()> {
    let Declared { existed, made } = declared;
    if form == Output::Json {
        return output::json(&serde_json::json!({ "existed": existed, "made": made }));
    }
    let mut table = output::table(&["what", "was"]);
    for (names, was) in [(existed, "there"), (made, "made")] {
        for name in names {
            table.add_row([name.as_str(), was]);
        }
    }
    output::show(&table)
}
