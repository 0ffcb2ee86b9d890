//! `podsync doctor`: what keeps podsync from working here, each with its fix.

use clap::Args;
use podsync_api::{
    ApiError, ErrorCode,
    node::{Finding, Verdict},
};
use podsync_daemon::{Overrides, Settings};

use crate::{
    arguments::{Endpoint, auth_token},
    context::Context,
    output::printable,
};

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(context: &Context, doctor: Doctor) -> Result<(), ApiError> {
    let settings = Settings::load(&context.home()?, Overrides::default())?;
    let findings =
        podsync_daemon::examine(&settings, &doctor.endpoint.url, auth_token().as_ref()).await;
    context.printer.result(&findings, |findings| {
        let lines: Vec<_> = findings.iter().map(words).collect();
        lines.join("\n")
    })?;
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failure)
        .collect();
    let Some(first) = failed.first() else {
        return Ok(());
    };
    let checks: Vec<_> = failed
        .iter()
        .map(|finding| finding.check.as_str())
        .collect();
    Err(ApiError::new(
        first.code.unwrap_or(ErrorCode::Internal),
        format!("podsync found problems: {}", checks.join(", ")),
    )
    .hint("follow the \"fix\" lines above, then run `podsync doctor` again"))
}

fn words(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failure => "FAILED",
    };
    let mut line = format!(
        "{verdict:<8} {:<10} {}",
        finding.check,
        printable(&finding.found)
    );
    if let Some(fix) = &finding.fix {
        line.push_str(&format!("\n{:20}fix: {}", "", printable(fix)));
    }
    line
}
